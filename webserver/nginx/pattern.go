package nginx

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// translate turns an RE2 pattern as Go reads it into one of PCRE that matches the same bytes. It is made from the parsed
// pattern and has nothing of the text that somebody wrote but letters and digits: all else is numbers in hexadecimal.
// Groups are kept only if captures is set, and have no names either way. PCRE gets bytes, not characters, as nginx
// would answer 500 to what is no UTF-8.
func translate(pattern string, captures bool) (string, error) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", err
	}
	t := translator{captures: captures}
	// A hostile pattern must not keep a worker busy: PCRE goes back and tries again, which RE2 never does.
	t.b.WriteString(matchLimit)
	t.node(re)
	if t.b.Len() > maxToken {
		return "", errTooLong
	}
	return t.b.String(), nil
}

// matchLimit bounds the steps of one match, to some milliseconds. Beyond it nginx answers that request with 500.
const matchLimit = "(*LIMIT_MATCH=200000)"

var errTooLong = fmt.Errorf("is longer than the %d bytes that nginx reads", maxToken)

type translator struct {
	b        strings.Builder
	captures bool
	// prefix stands before the text, with a colon, if it is not "".
	prefix string
}

// begin matches at the beginning of the text.
func (t *translator) begin() string {
	if t.prefix == "" {
		return `\A`
	}
	return `(?<=\A` + t.prefix + `:)`
}

func (t *translator) node(re *syntax.Regexp) {
	if t.b.Len() > maxToken {
		return // too long already
	}
	switch re.Op {
	case syntax.OpNoMatch:
		t.b.WriteString("(?!)")
	case syntax.OpEmptyMatch:
		t.b.WriteString("(?:)")
	case syntax.OpLiteral:
		t.b.WriteString("(?:")
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 {
				t.folded(r)
			} else {
				t.literal(r)
			}
		}
		t.b.WriteString(")")
	case syntax.OpCharClass:
		t.class(re.Rune)
	case syntax.OpAnyCharNotNL:
		t.class([]rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune})
	case syntax.OpAnyChar:
		t.class([]rune{0, unicode.MaxRune})
	case syntax.OpBeginLine:
		t.b.WriteString("(?:" + t.begin() + `|(?<=\x0a))`)
	case syntax.OpEndLine:
		t.b.WriteString("(?m:$)")
	case syntax.OpBeginText:
		t.b.WriteString(t.begin())
	case syntax.OpEndText:
		t.b.WriteString(`\z`)
	case syntax.OpWordBoundary:
		t.b.WriteString(`\b`)
	case syntax.OpNoWordBoundary:
		t.b.WriteString(`\B`)
	case syntax.OpCapture:
		open := "(?:"
		if t.captures {
			open = "("
		}
		t.group(open, re.Sub[0])
	case syntax.OpStar:
		t.repeat(re, "*")
	case syntax.OpPlus:
		t.repeat(re, "+")
	case syntax.OpQuest:
		t.repeat(re, "?")
	case syntax.OpRepeat:
		count := fmt.Sprintf("{%d,%d}", re.Min, re.Max)
		if re.Max < 0 {
			count = fmt.Sprintf("{%d,}", re.Min)
		}
		t.repeat(re, count)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			t.node(sub)
		}
	case syntax.OpAlternate:
		t.b.WriteString("(?:")
		for i, sub := range re.Sub {
			if i > 0 {
				t.b.WriteByte('|')
			}
			t.node(sub)
		}
		t.b.WriteByte(')')
	}
}

func (t *translator) group(open string, re *syntax.Regexp) {
	t.b.WriteString(open)
	t.node(re)
	t.b.WriteByte(')')
}

func (t *translator) repeat(re *syntax.Regexp, count string) {
	t.group("(?:", re.Sub[0])
	t.b.WriteString(count)
	if re.Flags&syntax.NonGreedy != 0 {
		t.b.WriteByte('?')
	}
}

func (t *translator) literal(r rune) {
	for _, c := range utf8.AppendRune(nil, r) {
		t.byte(c)
	}
}

func (t *translator) byte(c byte) {
	switch {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '/', c == '_':
		t.b.WriteByte(c)
	default:
		fmt.Fprintf(&t.b, `\x%02x`, c)
	}
}

// folded matches a letter in all its forms.
func (t *translator) folded(r rune) {
	if r < 0x80 && r != 'k' && r != 'K' && r != 's' && r != 'S' { // these two have a form beyond ASCII
		if unicode.IsLetter(r) {
			t.b.WriteString("(?i:" + string(r) + ")")
		} else {
			t.literal(r)
		}
		return
	}
	class := []rune{r, r}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		class = append(class, f, f)
	}
	if len(class) == 2 {
		t.literal(r)
		return
	}
	t.class(class)
}

// class matches one character of the ranges, given in pairs.
func (t *translator) class(ranges []rune) {
	var ascii strings.Builder
	var sequences [][]byteRange
	invalid := false
	for i := 0; i+1 < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if lo <= 0x7f {
			fmt.Fprintf(&ascii, `\x%02x-\x%02x`, lo, min(hi, 0x7f))
			lo = 0x80
		}
		if lo <= hi {
			sequences = appendSequences(sequences, lo, hi)
		}
		// Go takes a byte that is no UTF-8 for this character.
		invalid = invalid || ranges[i] <= utf8.RuneError && utf8.RuneError <= hi
	}
	if ascii.Len() == 0 && len(sequences) == 0 {
		t.b.WriteString("(?!)")
		return
	}
	if len(sequences) == 0 {
		t.b.WriteString("[" + ascii.String() + "]")
		return
	}
	t.b.WriteString("(?>")
	if ascii.Len() > 0 {
		t.b.WriteString("[" + ascii.String() + "]|")
	}
	for i, seq := range sequences {
		if i > 0 {
			t.b.WriteByte('|')
		}
		for _, r := range seq {
			fmt.Fprintf(&t.b, `[\x%02x-\x%02x]`, r.lo, r.hi)
		}
	}
	if invalid {
		t.b.WriteString(`|[\x80-\xff]`)
	}
	t.b.WriteByte(')')
}

type byteRange struct{ lo, hi byte }

// appendSequences appends the sequences of byte ranges that are the UTF-8 of lo to hi, both at least 0x80.
func appendSequences(all [][]byteRange, lo, hi rune) [][]byteRange {
	for _, limit := range []rune{0x7ff, 0xd7ff, 0xffff, unicode.MaxRune} { // where the length changes, and surrogates
		if lo <= limit && hi > limit {
			all = appendSequences(all, lo, limit)
			lo = limit + 1
		}
	}
	if lo >= 0xd800 && lo <= 0xdfff {
		lo = 0xe000 // a surrogate has no UTF-8
	}
	if lo > hi {
		return all
	}
	// Split so that all but the first differing byte run over their whole range.
	for i := 1; i < utf8.RuneLen(lo); i++ {
		mask := rune(1)<<(6*i) - 1
		if lo&^mask != hi&^mask {
			if lo&mask != 0 {
				all = appendSequences(all, lo, lo|mask)
				return appendSequences(all, (lo|mask)+1, hi)
			}
			if hi&mask != mask {
				all = appendSequences(all, lo, hi&^mask-1)
				return appendSequences(all, hi&^mask, hi)
			}
		}
	}
	a, b := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	seq := make([]byteRange, len(a))
	for i := range a {
		seq[i] = byteRange{a[i], b[i]}
	}
	return append(all, seq)
}
