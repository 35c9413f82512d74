package bundle

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseCaching parses a clientCaching value: one or more positive integers, each followed by a unit, with or
// without blanks between: "4w", "1d 12h", "1d12h". Units are those of nginx: ms, s, m (minutes), h, d, w,
// M (30 days), y (365 days); m and M differ.
func parseCaching(text string) (d time.Duration, fault string) {
	const form = "write positive whole numbers with units (ms, s, m, h, d, w, M, y), such as 4w or 1d 12h"
	rest := strings.TrimSpace(text)
	if rest == "" {
		return 0, "is empty; " + form
	}
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 {
			return 0, fmt.Sprintf("%q is not a time; %s", text, form)
		}
		if rest[0] == '0' {
			return 0, fmt.Sprintf("%q has a zero or a leading zero; %s", text, form)
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		rest = strings.TrimLeft(rest[digits:], " ")
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		unit := cachingUnit(rest[:letters])
		if unit == 0 {
			return 0, fmt.Sprintf("%q has a number without a known unit; %s", text, form)
		}
		if err != nil || n > (math.MaxInt64-int64(d))/int64(unit) {
			return 0, fmt.Sprintf("%q is too long; at most 292y are possible", text)
		}
		d += time.Duration(n) * unit
		rest = strings.TrimLeft(rest[letters:], " ")
	}
	return d, ""
}

func cachingUnit(name string) time.Duration {
	const day = 24 * time.Hour
	switch name {
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return day
	case "w":
		return 7 * day
	case "M":
		return 30 * day
	case "y":
		return 365 * day
	}
	return 0
}
