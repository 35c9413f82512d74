package bundle

import (
	"fmt"
	"regexp"
	"strings"
)

// fileGroup returns the extensions of a named group of the file matcher.
func fileGroup(name string) ([]string, bool) {
	switch name {
	case "_images":
		return []string{"jpg", "jpeg", "png", "gif", "ico", "svg", "svgz", "webp", "tif", "tiff", "dng", "psd", "heif", "bmp"}, true
	case "_videos":
		return []string{"mp4", "m4v", "mkv", "webm", "avi", "mpg", "mpeg", "ogg", "wmv", "flv", "mov"}, true
	case "_audios":
		return []string{"mp3", "mp4", "aac", "m4a", "flac", "wav", "ogg", "wma"}, true
	case "_fonts":
		return []string{"woff", "woff2", "eot", "otf", "ttf"}, true
	}
	return nil, false
}

var extensionForm = regexp.MustCompile(`^[A-Za-z0-9_~+-]+(\.[A-Za-z0-9_~+-]+)*$`)

// filePattern turns the argument of the file matcher, extensions and groups separated by commas, into a pattern
// for the end of a path, or says why it cannot.
func filePattern(value string) (pattern, fault string) {
	var quoted []string
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if strings.HasPrefix(item, "_") {
			group, ok := fileGroup(item)
			if !ok {
				return "", fmt.Sprintf("%q is not a group; groups are _images, _videos, _audios, _fonts", item)
			}
			quoted = append(quoted, group...)
			continue
		}
		ext := strings.TrimPrefix(item, ".")
		if !extensionForm.MatchString(ext) {
			return "", fmt.Sprintf("%q is not a file extension; write extensions separated by commas, such as \"css,js\", or use match for a pattern", item)
		}
		quoted = append(quoted, regexp.QuoteMeta(ext))
	}
	return `(?i)\.(?:` + strings.Join(quoted, "|") + `)$`, ""
}
