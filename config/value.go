package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// value is what the file or the environment says of one key.
type value struct {
	text   string
	list   []string
	isList bool
}

func (v value) empty() bool { return v.text == "" && len(v.list) == 0 }

// itemError is an error in one item of a list, counted from 0.
type itemError struct {
	index int
	err   error
}

func (e *itemError) Error() string { return fmt.Sprintf("item %d: %v", e.index+1, e.err) }
func (e *itemError) Unwrap() error { return e.err }

// show returns a value for a message, or nothing if it is secret.
func (k *key) show(s string) string {
	if k.secret {
		return "the value"
	}
	return strconv.Quote(clip(s, 60))
}

// isEmpty tells whether the field has its zero value or, in a list, nothing.
func (k *key) isEmpty(c *Config) bool {
	switch f := k.field(c).(type) {
	case *string:
		return *f == ""
	case *[]string:
		return len(*f) == 0
	}
	return false
}

// reset empties the field.
func (k *key) reset(c *Config) {
	switch f := k.field(c).(type) {
	case *string:
		*f = ""
	case *bool:
		*f = false
	case *int:
		*f = 0
	case *int64:
		*f = 0
	case *time.Duration:
		*f = 0
	case *[]string:
		*f = nil
	}
}

// set parses v into the key's field.
func (k *key) set(c *Config, v value) error {
	field := k.field(c)
	if list, ok := field.(*[]string); ok {
		if !v.isList {
			v.list = strings.Split(v.text, ",")
		}
		for i, s := range v.list {
			s = strings.TrimSpace(s)
			if err := plain(s); err != nil {
				return &itemError{i, err}
			}
			if s != "" {
				*list = append(*list, s)
			} else if v.isList {
				return &itemError{i, errors.New("is empty")}
			}
		}
		return nil
	}
	if v.isList {
		return errors.New("must be one value, but here is a list")
	}
	if f, ok := field.(*string); ok {
		return k.setString(f, v.text)
	}
	s := strings.TrimSpace(v.text)
	switch f := field.(type) {
	case *bool:
		b, err := parseBool(s)
		if err != nil {
			return fmt.Errorf("must be true or false, not %s", k.show(s))
		}
		*f = b
	case *int:
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("must be a whole number, not %s", k.show(s))
		}
		*f = n
	case *int64:
		n, err := parseSize(s)
		if err != nil {
			return fmt.Errorf("must be a size such as 512MiB or 4GiB, or a number of bytes, not %s", k.show(s))
		}
		*f = n
	case *time.Duration:
		d, err := parseDuration(s, k.unit)
		if err != nil && k.unit != 0 {
			return fmt.Errorf("must be a number of %s, or a duration such as 30s, not %s", k.typeName(), k.show(s))
		} else if err != nil {
			return fmt.Errorf("must be a duration with its unit, such as 90s, 10m, 24h or 7d, not %s", k.show(s))
		}
		*f = d
	default:
		return fmt.Errorf("has a field of type %T, which nothing can be read into", f)
	}
	return nil
}

func (k *key) setString(f *string, s string) error {
	if !k.multiline {
		if err := plain(s); err != nil {
			return err
		}
	}
	if len(k.choices) > 0 {
		for _, c := range k.choices {
			if slices.ContainsFunc(append([]string{c.value}, c.also...), func(v string) bool { return strings.EqualFold(v, s) }) {
				*f = c.value
				return nil
			}
		}
		return fmt.Errorf("must be one of %s, not %s", strings.Join(k.choiceNames(), ", "), k.show(s))
	}
	if k.path {
		s = filepath.Clean(s)
	}
	*f = s
	return nil
}

// plain refuses control characters and broken UTF-8, which no value needs and which could forge lines in logs,
// headers and files written from it.
func plain(s string) error {
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return errors.New("contains a control character, a line break or broken UTF-8")
		}
	}
	return nil
}

// parseBool accepts what YAML 1.1 and strconv accept.
func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "yes", "on", "y":
		return true, nil
	case "no", "off", "n":
		return false, nil
	}
	return strconv.ParseBool(strings.ToLower(s))
}

// parseSize accepts a number of bytes, optionally with a unit: KiB, MiB, GiB, TiB (powers of 1024), kB, MB, GB, TB
// (powers of 1000).
func parseSize(s string) (int64, error) {
	if !sizeForm.MatchString(s) {
		return 0, errors.New("not a size")
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return 0, errors.New("not a size")
	}
	return int64(n), nil
}

var (
	sizeForm = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,6})?\s*([kKmMgGtT][iI]?)?[bB]?$`)
	daysForm = regexp.MustCompile(`^([0-9]{1,6})d(.*)$`)
)

// parseDuration accepts the syntax of [time.ParseDuration], with a leading number of days of 24 hours ("7d",
// "1d12h"), and 0. If unit is not 0, a number alone counts units.
func parseDuration(s string, unit time.Duration) (time.Duration, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if unit == 0 && n != 0 {
			return 0, errors.New("no unit")
		}
		if unit != 0 && (n > math.MaxInt64/int64(unit) || n < math.MinInt64/int64(unit)) {
			return 0, errors.New("out of range")
		}
		return time.Duration(n) * unit, nil
	}
	var days time.Duration
	if m := daysForm.FindStringSubmatch(s); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 64)
		if n > 100*366 {
			return 0, errors.New("out of range")
		}
		if days = time.Duration(n) * 24 * time.Hour; m[2] == "" {
			return days, nil
		}
		if s = m[2]; s[0] == '-' || s[0] == '+' {
			return 0, errors.New("sign in the middle")
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, err
	}
	if days > 0 && d > math.MaxInt64-days {
		return 0, errors.New("out of range")
	}
	return days + d, nil
}
