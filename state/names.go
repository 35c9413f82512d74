package state

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of names.
const (
	// MaxNames is how many names one site may have, its domain and aliases together: so many that replacing
	// all of them still fits into one transaction.
	MaxNames = 60
	// MaxAppName is the length of a bundle's name in bytes: a file name with room for a prefix.
	MaxAppName = 200
	// MaxSecretName is the length of a secret's name in bytes.
	MaxSecretName = 512
)

// hostnames converts names of sites as UTS #46 says for looking them up, and checks what results against the
// rules of host names (RFC 5891, RFC 1123).
var hostnames = idna.New(idna.MapForLookup(), idna.StrictDomainName(true), idna.BidiRule(), idna.VerifyDNSLength(true))

// CheckDomain returns the form in which a domain or alias is stored: lower case, IDNA-encoded, without a final
// dot. The error says what is wrong with the name.
func CheckDomain(name string) (string, error) {
	switch {
	case name == "":
		return "", fmt.Errorf("is empty")
	case len(name) > 1024:
		return "", fmt.Errorf("is longer than a host name can be (253 characters)")
	case strings.EqualFold(name, "_default"):
		return "", fmt.Errorf(`"_default" is reserved`)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%q is not valid UTF-8", name)
	}
	if isPlainHostname(name) {
		return name, nil
	}
	trimmed := strings.TrimSuffix(name, ".")
	if strings.Contains(trimmed, "*") {
		return "", fmt.Errorf("%q: wildcards are not supported; name each host", name)
	}
	ascii, err := hostnames.ToASCII(trimmed)
	// Some characters are mapped to a dot or to digits, so that what they make is looked at as well.
	for _, form := range []string{trimmed, ascii} {
		if _, err := netip.ParseAddr(form); err == nil {
			return "", fmt.Errorf("%q is an address, not a host name", name)
		}
	}
	if err != nil || strings.HasSuffix(ascii, ".") {
		return "", fmt.Errorf("%q is not a host name (letters, digits and inner hyphens, in parts of at most 63 joined by dots)", name)
	}
	return ascii, nil
}

// isPlainHostname tells, at no cost, that name is a host name in its stored form. It says no to some that are,
// which then take the long way.
func isPlainHostname(name string) bool {
	if len(name) > 253 {
		return false
	}
	start, letters := 0, false
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			label := name[start:i]
			if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
				(len(label) > 3 && label[2:4] == "--") {
				return false
			}
			start = i + 1
			continue
		}
		switch c := name[i]; {
		case c >= 'a' && c <= 'z':
			letters = true
		case c >= '0' && c <= '9' || c == '-':
		default:
			return false
		}
	}
	return letters
}

// shortName is what bundles and imported certificates are called.
var shortName = regexp.MustCompile(`^[a-z][a-z0-9.\-]*$`)

// CheckAppName returns the form in which a bundle's name is stored, lower case. The error says what is wrong.
func CheckAppName(name string) (string, error) { return checkShortName(name, "a bundle name") }

// CheckCertificateName returns the form in which an imported certificate's name is stored, lower case. The error
// says what is wrong.
func CheckCertificateName(name string) (string, error) {
	return checkShortName(name, "a certificate name")
}

func checkShortName(name, what string) (string, error) {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		return "", fmt.Errorf("is empty")
	case len(name) > MaxAppName:
		return "", fmt.Errorf("is longer than %d characters", MaxAppName)
	case !shortName.MatchString(lower):
		return "", fmt.Errorf("%q is not %s (a letter, then letters, digits, dots and hyphens)", name, what)
	}
	return lower, nil
}

// checkSecretName says what is wrong with a secret's name.
func checkSecretName(name string) error {
	if name == "" || len(name) > MaxSecretName {
		return fmt.Errorf("a secret's name has 1 to %d characters", MaxSecretName)
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return fmt.Errorf("%q is not a secret's name (printable ASCII without blanks)", name)
		}
	}
	return nil
}
