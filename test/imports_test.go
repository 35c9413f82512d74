package test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// rooms is the table of the architecture (docs/architecture.md): a package may import only packages that stand
// further down. Packages of one row do not import each other, except that a package may import what it contains.
var rooms = [][]string{
	{"test", "test/bench", "test/mutants"},
	{"test/chaos"},
	{"test/history"},
	{"test/cluster"},
	{"test/etcdtest", "test/objecttest"},
	{"test/programs"},
	{"cmd/node", "cmd/stkcli"},
	{"cli"},
	{"migrate"},
	{"node"},
	{"server"},
	{"health"},
	{"reconcile"},
	{"webserver/nginx"},
	{"webserver/builtin", "webserver/servertest"},
	{"webserver"},
	{"bundle/repotest", "bundle/s3repo", "bundle/azurerepo"},
	{"bundle/objectstore"},
	{"webserver/media"},
	{"bundle"},
	{"cluster"},
	{"certs", "leader", "dhparams", "temporary"},
	{"etcdstore", "filestore"},
	{"etcdclient"},
	{"api"},
	{"secret", "notify"},
	{"state/storetest"},
	{"state"},
	{"config"},
}

// withoutNetwork are packages that must not even depend on the network.
var withoutNetwork = []string{"state"}

type listed struct {
	ImportPath    string
	Dir           string
	GoFiles       []string
	Imports, Deps []string
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", "statiko/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

func row(name string) int {
	return slices.IndexFunc(rooms, func(r []string) bool { return slices.Contains(r, name) })
}

func TestImportsPointDownTheTable(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, "statiko/")
		from := row(name)
		if from < 0 {
			t.Errorf("package %s has no place in the table of rooms", name)
			continue
		}
		for _, imp := range p.Imports {
			target, ours := strings.CutPrefix(imp, "statiko/")
			if !ours {
				continue
			}
			if to := row(target); to <= from {
				t.Errorf("%s (row %d) imports %s (row %d): imports point down the table only", name, from, target, to)
			}
		}
	}
}

func TestDomainKnowsNoNetwork(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, "statiko/")
		if !slices.Contains(withoutNetwork, name) {
			continue
		}
		for _, dep := range p.Deps {
			if dep == "net/http" || strings.HasPrefix(dep, "go.etcd.io/") || strings.HasPrefix(dep, "statiko/") {
				t.Errorf("%s depends on %s", name, dep)
			}
		}
	}
}

func TestEveryPackageHasExactlyOneComment(t *testing.T) {
	for _, p := range list(t) {
		n := 0
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), p.Dir+"/"+f, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc.Text() != "" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s has %d package comments, want exactly one", p.ImportPath, n)
		}
	}
}

// Managing a node needs none of its parts: stkcli stays small.
func TestCommandLineCarriesNoServers(t *testing.T) {
	for _, p := range list(t) {
		if p.ImportPath != "statiko/cmd/stkcli" {
			continue
		}
		for _, dep := range p.Deps {
			if dep == "statiko/node" || dep == "statiko/bundle/s3repo" || dep == "statiko/bundle/azurerepo" || dep == "statiko/webserver/builtin" {
				t.Errorf("stkcli depends on %s", dep)
			}
		}
		return
	}
	t.Error("there is no stkcli")
}

// Exits, signals and the environment are the programs' business, and nothing happens at import time.
func TestCodeKeepsHabits(t *testing.T) {
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, "statiko/")
		if strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "test") {
			continue
		}
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), p.Dir+"/"+f, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Name.Name == "init" && n.Recv == nil {
						t.Errorf("%s/%s has an init function", name, f)
					}
				case *ast.SelectorExpr:
					x, ok := n.X.(*ast.Ident)
					if !ok {
						return true
					}
					switch x.Name + "." + n.Sel.Name {
					case "os.Exit", "os.Getenv", "os.LookupEnv", "signal.Notify", "signal.NotifyContext":
						t.Errorf("%s/%s uses %s.%s, which belongs into cmd", name, f, x.Name, n.Sel.Name)
					}
				case *ast.CallExpr:
					if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "panic" && !abortsHandler(n) {
						t.Errorf("%s/%s calls panic", name, f)
					}
				}
				return true
			})
		}
	}
}

// abortsHandler tells whether a call is panic(http.ErrAbortHandler), net/http's own way of cutting a connection.
func abortsHandler(call *ast.CallExpr) bool {
	sel, ok := call.Args[0].(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "ErrAbortHandler"
}
