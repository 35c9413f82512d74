package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// ignoreFile is the file in a folder that says what of it is not packed. It is not packed either.
const ignoreFile = ".statikoignore"

// ignore is what an ignore file says: patterns as in a .gitignore (gitignore(5)), of which the last that matches counts.
// There is one such file, in the folder's root.
type ignore []ignoreRule

type ignoreRule struct {
	// keep tells that what matches is packed ("!").
	keep bool
	// folders tells that only folders match ("/" at the end).
	folders bool
	// name tells that the last element of the path is compared, not the whole: there is no other "/".
	name bool
	re   *regexp.Regexp
}

// readIgnore reads the ignore file of a folder; there need not be one.
func readIgnore(dir string) (ignore, error) {
	b, err := os.ReadFile(filepath.Join(dir, ignoreFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, localError(err, "could not read %s", ignoreFile)
	}
	return parseIgnore(b)
}

func parseIgnore(text []byte) (ignore, error) {
	var rules ignore
	n := 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		n++
		pattern := trimPattern(strings.TrimRight(string(line), "\r\n"))
		if pattern == "" || pattern[0] == '#' {
			continue
		}
		rule, err := parseRule(pattern)
		if err != nil {
			return nil, userError("%s, line %d: %q %v", ignoreFile, n, pattern, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// trimPattern takes spaces at the end away, but for one behind a backslash.
func trimPattern(s string) string {
	for strings.HasSuffix(s, " ") {
		before := s[:len(s)-1]
		if backslashes := len(before) - len(strings.TrimRight(before, `\`)); backslashes%2 == 1 {
			return s
		}
		s = before
	}
	return s
}

func parseRule(pattern string) (rule ignoreRule, err error) {
	if p, ok := strings.CutPrefix(pattern, "!"); ok {
		rule.keep, pattern = true, p
	}
	if p, ok := strings.CutSuffix(pattern, "/"); ok {
		rule.folders, pattern = true, p
	}
	rule.name = !strings.Contains(pattern, "/")
	pattern = strings.TrimPrefix(pattern, "/")
	if pattern == "" {
		return rule, errors.New("names nothing")
	}
	expression, err := globExpression(pattern)
	if err != nil {
		return rule, err
	}
	if rule.re, err = regexp.Compile("(?s)^(?:" + expression + ")$"); err != nil {
		return rule, errors.New("is no pattern")
	}
	return rule, nil
}

// says tells whether the rules name a file or folder, and whether it is to be packed.
func (i ignore) says(name string, folder bool) (named, keep bool) {
	for n := len(i) - 1; n >= 0; n-- {
		rule, text := i[n], name
		if rule.name {
			text = path.Base(name)
		}
		if (folder || !rule.folders) && rule.re.MatchString(text) {
			return true, rule.keep
		}
	}
	return false, false
}

// globExpression returns the regular expression of a pattern: "*" and "?" match no "/", and "**" in place of a whole
// element matches any number of them.
func globExpression(pattern string) (string, error) {
	var b strings.Builder
	elements := strings.Split(pattern, "/")
	for i, element := range elements {
		last := i == len(elements)-1
		switch {
		case element == "**" && last && i > 0:
			b.WriteString(".+")
			continue
		case element == "**" && !last:
			b.WriteString("(?:.*/)?")
			continue
		}
		text, err := elementExpression(element)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		if !last {
			b.WriteByte('/')
		}
	}
	return b.String(), nil
}

func elementExpression(element string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(element); i++ {
		switch c := element[i]; c {
		case '*':
			b.WriteString("[^/]*")
		case '?':
			b.WriteString("[^/]")
		case '[':
			text, length, err := classExpression(element[i:])
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			i += length - 1
		case '\\':
			if i++; i == len(element) {
				return "", errors.New("ends with a backslash")
			}
			b.WriteString(regexp.QuoteMeta(element[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(element[i : i+1]))
		}
	}
	return b.String(), nil
}

// classExpression returns the regular expression of the class, such as "[!a-z]", that s begins with, and its length.
func classExpression(s string) (string, int, error) {
	b := strings.Builder{}
	b.WriteByte('[')
	i := 1
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		b.WriteString("^/")
		i++
	}
	for begin := i; i < len(s); i++ {
		c := s[i]
		if c == ']' && i > begin {
			b.WriteByte(']')
			return b.String(), i + 1, nil
		}
		switch {
		case strings.HasPrefix(s[i:], "[:"):
			end := strings.Index(s[i:], ":]")
			if end < 0 {
				return "", 0, errors.New("has a class that does not end")
			}
			b.WriteString(s[i : i+end+2])
			i += end + 1
		case c == '\\' && i+1 < len(s):
			i++
			fmt.Fprintf(&b, `\%c`, s[i])
		case c == '-':
			b.WriteByte('-')
		case c == '[' || c == ']' || c == '^' || c == '&' || c == '~':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, errors.New(`has a "[" without a "]"`)
}
