package health

import (
	"fmt"
	"slices"
	"strings"

	"statiko/api"
	"statiko/cluster"
	"statiko/state"
)

// report is what the nodes answered.
type report struct {
	// members has all nodes, answered those that answered.
	members  []cluster.MemberStatus
	answered []answer
}

// answer is how one node is.
type answer struct {
	name   string
	status *api.Status
}

// finding is how one subject is, as far as the nodes say.
type finding struct {
	// subject is a domain, or the name of a node.
	subject string
	// nodes are those on which it is ill; none if it is well.
	nodes []string
	// everywhere tells that these are all that answered, of several.
	everywhere bool
	// reason is what one of them says.
	reason string
}

func (f finding) ill() bool { return len(f.nodes) > 0 }

func read(members []cluster.MemberStatus) report {
	r := report{members: members}
	for _, m := range members {
		if m.Node != nil && m.Node.Full != nil {
			r.answered = append(r.answered, answer{m.Name, m.Node.Full})
		}
	}
	return r
}

// sites returns how the sites of the state are: those that some node says are ill, and those that are well and were
// told to be ill. A node whose web server does not run is ill itself, and says nothing about sites.
func (r report) sites(s *state.Snapshot) []finding {
	ill := map[string]*finding{}
	asked := 0
	for _, a := range r.answered {
		if !a.status.Nginx.Running {
			continue
		}
		asked++
		for _, h := range a.status.Health {
			if h.Healthy {
				continue
			}
			if _, ok := s.Object(state.Key{Kind: state.KindSite, Name: h.Domain}); !ok {
				continue // removed meanwhile
			}
			f := ill[h.Domain]
			if f == nil {
				f = &finding{subject: h.Domain, reason: h.Error}
				ill[h.Domain] = f
			}
			f.nodes = append(f.nodes, a.name)
		}
	}
	var list []finding
	for _, f := range ill {
		f.everywhere = asked > 1 && len(f.nodes) == asked
		list = append(list, *f)
	}
	if asked > 0 { // else nobody can say that any is well
		for domain := range told(s, sitePrefix) {
			if ill[domain] == nil {
				list = append(list, finding{subject: domain})
			}
		}
	}
	return sorted(list)
}

// nodes returns how the nodes are that answered.
func (r report) nodes() []finding {
	var list []finding
	for _, a := range r.answered {
		f := finding{subject: a.name}
		if reasons := faults(a.status); len(reasons) > 0 {
			f.nodes, f.reason = []string{a.name}, strings.Join(reasons, "; ")
		}
		list = append(list, f)
	}
	return sorted(list)
}

// faults are what is wrong with a node, its sites aside.
func faults(s *api.Status) (reasons []string) {
	if !s.Nginx.Running {
		reasons = append(reasons, because("its web server does not run", s.Nginx.Error))
	}
	if s.Sync.SyncError != "" {
		reasons = append(reasons, because("it cannot apply the state", s.Sync.SyncError))
	}
	if s.Certificate != nil && s.Certificate.Error != "" {
		reasons = append(reasons, because("its own certificate cannot be replaced", s.Certificate.Error))
	}
	return reasons
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return fmt.Sprintf("%s (%s)", what, why)
}

func sorted(list []finding) []finding {
	slices.SortFunc(list, func(a, b finding) int { return strings.Compare(a.subject, b.subject) })
	return list
}
