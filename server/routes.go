package server

import (
	"net/http"
	"slices"
	"strings"

	"statiko/api"
	"statiko/cluster"
)

// access says who may call a route.
type access int

const (
	// open routes do not look at the caller at all.
	open access = iota
	// optional routes answer everybody, and tell the authenticated more.
	optional
	// required routes refuse all but the authenticated.
	required
	// nodes are routes for other nodes of the cluster, which prove themselves in another way.
	nodes
)

// handler answers one method of one route. What it returns as an error has not been answered yet.
type handler func(*Server, *call) error

// route is one path of the API.
type route struct {
	// path is a pattern of [http.ServeMux] without a method.
	path   string
	access access
	// methods has the handlers; HEAD is answered as GET is.
	methods map[string]handler
}

// routes is the whole API.
func routes() []route {
	type m = map[string]handler
	return append(publicRoutes(),
		route{"/clusterstatus", required, m{"GET": (*Server).clusterStatus}},
		route{"/sync", required, m{"POST": (*Server).sync}},
		route{"/freeze", required, m{"POST": (*Server).freeze}},
		route{"/unfreeze", required, m{"POST": (*Server).unfreeze}},
		route{"/drain", required, m{"POST": (*Server).startDrain}},
		route{"/undrain", required, m{"POST": (*Server).endDrain}},
		route{"/node", required, m{"GET": (*Server).listNodes}},
		route{"/node/{name}", required, m{"DELETE": (*Server).removeNode}},
		route{"/leader", required, m{"GET": (*Server).getLeader}},
		route{"/leader/stepdown", required, m{"POST": (*Server).stepDown}},
		route{"/store/accept", required, m{"POST": (*Server).acceptStore}},
		route{cluster.StatusPath, nodes, m{"GET": (*Server).peerStatus}},
		route{bundlesPath, nodes, m{"GET": (*Server).peerBundles}},
		route{bundlesPath + "/{name}", nodes, m{"GET": (*Server).peerArchive, "POST": (*Server).peerOffer}},

		route{"/site", required, m{"GET": (*Server).listSites, "POST": (*Server).createSite}},
		route{"/site/{domain}", required, m{
			"GET": (*Server).getSite, "PATCH": (*Server).changeSite, "DELETE": (*Server).deleteSite,
		}},
		route{"/site/{domain}/app", required, m{
			"POST": (*Server).deploy, "PUT": (*Server).deploy, "DELETE": (*Server).undeploy,
		}},
		route{"/site/{domain}/rollback", required, m{"POST": (*Server).rollback}},
		route{"/site/{domain}/history", required, m{"GET": (*Server).siteHistory}},

		route{"/app", required, m{"GET": (*Server).listApps, "POST": unlessFrozen((*Server).uploadApp)}},
		route{"/app/{name}", required, m{"POST": (*Server).setAppMetadata, "DELETE": (*Server).deleteApp}},
		route{"/app/{name}/archive", required, m{"GET": (*Server).downloadApp}},

		route{"/certificate", required, m{"GET": (*Server).listCertificates, "POST": (*Server).importCertificate}},
		route{"/certificate/{name}", required, m{"DELETE": (*Server).deleteCertificate}},

		route{"/dhparams", required, m{"GET": (*Server).getDHParams, "POST": (*Server).setDHParams}},
		route{"/state", required, m{
			"GET": (*Server).getState, "POST": (*Server).setState, "PUT": (*Server).setState,
		}},
	)
}

// publicRoutes is what everybody may reach through the web server.
func publicRoutes() []route {
	type m = map[string]handler
	return []route{
		{"/status", optional, m{"GET": (*Server).status}},
		{"/status/{domain}", optional, m{"GET": (*Server).siteStatus}},
		{"/info", optional, m{"GET": (*Server).info}},
		{"/healthz", open, m{"GET": (*Server).healthz}},
		{"/readyz", open, m{"GET": (*Server).readyz}},
		{"/.well-known/acme-challenge/{token}", open, m{"GET": (*Server).challenge}},
	}
}

// mux serves the routes, each also with a slash behind it. authenticate tells whether callers can be authenticated
// here at all.
func (s *Server) mux(routes []route, authenticate bool) *http.ServeMux {
	mux := http.NewServeMux()
	for _, rt := range routes {
		if !authenticate {
			rt.access = min(rt.access, optional)
		}
		h := s.serve(rt, authenticate)
		mux.HandleFunc(rt.path, h)
		mux.HandleFunc(rt.path+"/{$}", h)
	}
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		c := callOf(r)
		s.writeError(c, api.Errorf(api.CodeNoRoute, "there is no route %s", printable(r.URL.Path)))
	})
	return mux
}

// serve answers one route: it finds the method, asks who calls, waits for the revision that the caller has seen,
// and has the handler answer.
func (s *Server) serve(rt route, authenticate bool) http.HandlerFunc {
	allow := allowed(rt.methods)
	return func(_ http.ResponseWriter, r *http.Request) {
		c := callOf(r)
		c.r, c.route = r, rt.path
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if method == http.MethodOptions {
			c.w.Header().Set("Allow", allow)
			c.w.WriteHeader(http.StatusNoContent)
			return
		}
		h, ok := rt.methods[method]
		if !ok {
			c.w.Header().Set("Allow", allow)
			s.writeError(c, api.Errorf(api.CodeMethod, "this route takes %s", allow))
			return
		}
		if err := s.answer(c, rt.access, authenticate, h); err != nil {
			s.writeError(c, err)
		}
	}
}

func (s *Server) answer(c *call, a access, authenticate bool, h handler) error {
	if a == nodes {
		if err := s.authenticateNode(c); err != nil {
			return err
		}
		return h(s, c)
	}
	if a != open && authenticate {
		if err := s.authenticate(c); err != nil && a == required {
			return err
		}
	}
	if c.authenticated {
		if err := s.waitForRevision(c); err != nil {
			return err
		}
	}
	if err := c.readWait(); err != nil {
		return err
	}
	return h(s, c)
}

// allowed returns the value of Allow.
func allowed(methods map[string]handler) string {
	names := []string{"OPTIONS"}
	for m := range methods {
		names = append(names, m)
		if m == "GET" {
			names = append(names, "HEAD")
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
