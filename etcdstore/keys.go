package etcdstore

import (
	"strconv"
	"strings"

	"statiko/state"
)

// keys makes and reads etcd's keys. It is the prefix up to and with "v1/".
type keys string

func newKeys(prefix string) keys { return keys(strings.TrimRight(prefix, "/") + "/v1/") }

func (k keys) head() string           { return string(k) + "head" }
func (k keys) op(node string) string  { return string(k) + "ops/" + node }
func (k keys) ops() string            { return string(k) + "ops/" }
func (k keys) cut(node string) string { return k.cuts() + node }
func (k keys) cuts() string           { return string(k) + "cuts/" }
func (k keys) generations() string    { return string(k) + "g/" }
func (k keys) gen(gen int64) string   { return k.generations() + strconv.FormatInt(gen, 10) + "/" }
func (k keys) stagings() string       { return string(k) + "staging/" }
func (k keys) staging(g int64) string { return k.stagings() + strconv.FormatInt(g, 10) }

// object returns where an object is stored in a generation.
func (k keys) object(gen int64, o state.Key) string {
	path := string(o.Kind)
	if o.Name != "" {
		path += "/" + o.Name
	}
	if inGeneration(o.Kind) {
		return k.gen(gen) + path
	}
	return string(k) + path
}

// inGeneration tells whether objects of the kind are replaced by a restore.
func inGeneration(kind state.Kind) bool {
	return kind.InDocument() || kind == state.KindName || kind == state.KindGuard
}

// replicated returns prefixes of all keys with objects that every node keeps, one for each kind. Others may have them
// too: parse tells.
func (k keys) replicated(gen int64) []string {
	var prefixes []string
	for _, kind := range append(state.Kinds(), state.KindName, state.KindGuard) {
		if kind.Replicated() {
			prefixes = append(prefixes, k.object(gen, state.Key{Kind: kind}))
		}
	}
	return prefixes
}

// generationOf returns the generation that a key under generations() belongs to.
func (k keys) generationOf(key string) (int64, bool) {
	rest, ok := strings.CutPrefix(key, k.generations())
	if !ok {
		return 0, false
	}
	number, _, ok := strings.Cut(rest, "/")
	if !ok {
		return 0, false
	}
	gen, err := strconv.ParseInt(number, 10, 64)
	return gen, err == nil
}

// parse returns which object of generation gen a key of etcd is; false if it is none that a replica keeps.
func (k keys) parse(gen int64, key string) (state.Key, bool) {
	path, ok := strings.CutPrefix(key, k.gen(gen))
	if !ok {
		if path, ok = strings.CutPrefix(key, string(k)); !ok {
			return state.Key{}, false
		}
	}
	kind, name, _ := strings.Cut(path, "/")
	o := state.Key{Kind: state.Kind(kind), Name: name}
	if !o.Kind.Replicated() || inGeneration(o.Kind) != strings.HasPrefix(key, k.generations()) {
		return state.Key{}, false
	}
	return o, true
}
