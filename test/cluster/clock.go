package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClockShift is the variable of the environment by which programs of [BuildWithClock] shift their wall clock, in seconds.
const ClockShift = "STATIKO_TEST_CLOCK_SHIFT"

// BuildWithClock is [Build] with a standard library in which the wall clock of time.Now is shifted by [ClockShift]; what time
// has passed (the monotonic clock) stays right. Nothing that works from outside does: Go asks the kernel for the time
// without the C library, so that libfaketime is never asked.
func BuildWithClock(folder string, flags ...string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	original := filepath.Join(library, "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	const asked = "	sec, nsec, mono := runtimeNow()\n"
	if n := strings.Count(string(text), asked); n == 0 {
		return fmt.Errorf("%s reads the clock in another way than this knows", original)
	}
	shifted := strings.ReplaceAll(string(text), asked, asked+"	sec += shiftedBy\n")
	return buildWith(folder, map[string]string{original: shifted, filepath.Join(library, "shifted.go"): shift}, flags...)
}

// shift is the file that is added to package time.
const shift = `package time

import "syscall"

var shiftedBy = func() (seconds int64) {
	text, _ := syscall.Getenv("` + ClockShift + `")
	sign := int64(1)
	for i := range len(text) {
		if text[i] == '-' {
			sign = -1
			continue
		}
		seconds = 10*seconds + int64(text[i]-'0')
	}
	return sign * seconds
}()
`
