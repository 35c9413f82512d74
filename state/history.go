package state

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxHistory bounds a site's history.
const MaxHistory = 50

// Deployment is one version of a site: a bundle that it was told to serve, and when.
type Deployment struct {
	// App is the bundle's name, SHA256 its digest at that time, 64 hexadecimal digits.
	App    string
	SHA256 string
	// Time is when it was deployed last; zero if that is not known.
	Time time.Time

	extra extras
}

// MarshalJSON writes the deployment as in the state document.
func (p Deployment) MarshalJSON() ([]byte, error) {
	return p.extra.encode(struct {
		App    string    `json:"app"`
		SHA256 string    `json:"sha256"`
		Time   time.Time `json:"time,omitzero"`
	}{p.App, p.SHA256, p.Time.UTC()})
}

// UnmarshalJSON reads a deployment of the state document.
func (p *Deployment) UnmarshalJSON(data []byte) (err error) {
	p.extra, err = decodeMembers(data, map[string]any{"app": &p.App, "sha256": &p.SHA256, "time": &p.Time})
	return err
}

// normalize brings a deployment into its stored form and returns its faults.
func (p *Deployment) normalize() []Fault {
	var faults []Fault
	if n, err := CheckAppName(p.App); err != nil {
		faults = append(faults, Fault{Field: "app", Message: err.Error()})
	} else {
		p.App = n
	}
	if b, err := hex.DecodeString(p.SHA256); err != nil || len(b) != 32 {
		faults = append(faults, Fault{Field: "sha256", Message: "is not 64 hexadecimal digits"})
	}
	p.SHA256 = strings.ToLower(p.SHA256)
	p.Time = p.Time.UTC().Truncate(time.Second)
	if y := p.Time.Year(); y < 0 || y > 9999 {
		faults = append(faults, Fault{Field: "time", Message: "is not a time of the years 0 to 9999"})
	}
	return faults
}

func (s *Site) normalizeHistory() []Fault {
	var faults []Fault
	if n := len(s.History); n > MaxHistory {
		faults = append(faults, Fault{Field: "history", Message: fmt.Sprintf("has %d versions; at most %d are possible", n, MaxHistory)})
	}
	for i := range s.History {
		for _, f := range s.History[i].normalize() {
			f.Field = fmt.Sprintf("history[%d].%s", i, f.Field)
			faults = append(faults, f)
		}
	}
	return faults
}

// Deploy makes the site serve the bundle, and notes that as the newest of at most keep versions. Before is the bundle
// that the site served; nil if it served none, or one that does not exist. A bundle stands once in the history.
func (s *Site) Deploy(app, before *App, at time.Time, keep int) {
	if len(s.History) == 0 && before != nil && before.Name == s.AppName() {
		// It was deployed by a version that kept no history.
		s.History = []Deployment{{App: before.Name, SHA256: before.SHA256}}
	}
	versions := []Deployment{{App: app.Name, SHA256: app.SHA256, Time: at.UTC().Truncate(time.Second)}}
	for _, v := range s.History {
		if v.App == app.Name {
			versions[0].extra = v.extra
			continue
		}
		versions = append(versions, v)
	}
	s.App, s.History = &SiteApp{Name: app.Name}, versions[:min(len(versions), keep)]
}

// Previous returns the newest version in the history other than what the site serves.
func (s *Site) Previous() (Deployment, bool) {
	i := slices.IndexFunc(s.History, func(v Deployment) bool { return v.App != s.AppName() })
	if i < 0 {
		return Deployment{}, false
	}
	return s.History[i], true
}
