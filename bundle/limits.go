package bundle

import (
	"errors"
	"fmt"
)

// ErrTooLarge is wrapped by every error that says that an upload or an archive exceeds a limit.
var ErrTooLarge = errors.New("too large")

// Limits bound what an archive may turn into. A zero member means its default.
type Limits struct {
	// MaxBytes is the sum of all files, unpacked, in bytes. Default 4 GiB.
	MaxBytes int64
	// MaxFiles counts entries of the archive and folders made for them. Default 200,000.
	MaxFiles int
	// MaxRatio is how many unpacked bytes may come from one byte of the archive. It is looked at only above
	// 64 MiB of unpacked bytes, so that small sites may compress as well as they like. Default 200. Text seldom
	// exceeds 20; deflate, the compression of zip and gzip, cannot exceed 1032.
	MaxRatio float64

	// ratioFloor is where MaxRatio begins to count, in bytes: filling that much hurts nobody. Tests lower it.
	ratioFloor int64
}

func (l Limits) withDefaults() Limits {
	if l.MaxBytes <= 0 {
		l.MaxBytes = 4 << 30
	}
	if l.MaxFiles <= 0 {
		l.MaxFiles = 200_000
	}
	if l.MaxRatio <= 0 {
		l.MaxRatio = 200
	}
	if l.ratioFloor <= 0 {
		l.ratioFloor = 64 << 20
	}
	return l
}

// streamBytes bounds the decompressed stream of a tar archive, which holds headers and entries that are skipped
// besides the files.
func (l Limits) streamBytes() int64 {
	perEntry := int64(l.MaxFiles) * 4096
	if l.MaxBytes > (1<<62)-perEntry {
		return 1 << 62
	}
	return l.MaxBytes + perEntry + 1<<20
}

// budget counts what came out of an archive so far.
type budget struct {
	limits  Limits
	archive int64 // bytes
	bytes   int64
	files   int
}

// addBytes notes n more unpacked bytes, or says why they are too many.
func (b *budget) addBytes(n int64) error {
	if n < 0 || n > b.limits.MaxBytes-b.bytes {
		return fmt.Errorf("the archive unpacks to more than %d bytes: %w", b.limits.MaxBytes, ErrTooLarge)
	}
	b.bytes += n
	if b.bytes > b.limits.ratioFloor && float64(b.bytes) > b.limits.MaxRatio*float64(b.archive) {
		return fmt.Errorf("the archive unpacks to more than %g times its own size: %w", b.limits.MaxRatio, ErrTooLarge)
	}
	return nil
}

// fits looks at a size that an entry claims, so that nothing is written of one that is too large.
func (b *budget) fits(n int64) error {
	if n <= 0 {
		return nil
	}
	probe := *b
	return probe.addBytes(n)
}

func (b *budget) addFile() error {
	if b.files++; b.files > b.limits.MaxFiles {
		return fmt.Errorf("the archive has more than %d files and folders: %w", b.limits.MaxFiles, ErrTooLarge)
	}
	return nil
}
