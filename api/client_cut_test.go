package api

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"statiko/state"
)

// An answer that is cut off in its middle, as by a node that is killed, leaves open what became of a change.
func TestClient_AnswerCutOffIsOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"domain":`))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	if _, err := c.CreateSite(context.Background(), SiteCreate{Domain: "a.example"}); !errors.Is(err, state.ErrUnknown) {
		t.Errorf("a change whose answer is cut off is %v", err)
	}
	if _, err := c.Sites(context.Background()); err == nil || errors.Is(err, state.ErrUnknown) {
		t.Errorf("a question whose answer is cut off is %v", err)
	}
}
