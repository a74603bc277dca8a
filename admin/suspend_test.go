package admin

import (
	"net/http"
	"testing"
)

// A workspace's own administrator cannot lift a suspension by an operator, but can
// otherwise suspend and resume it.
func TestResume_operators(t *testing.T) {
	operator := newAPI(t)
	own := newAPI(t, func(c *Config) {
		c.Keys = func() Keys { return operator.store }
		c.Workspace = func(*http.Request) string { return "acme" }
	})
	const suspend, resume = "/workspaces/acme/suspend", "/workspaces/acme/resume"
	state := func(a *api, path, body string, suspended bool, reason any) {
		t.Helper()
		got := a.must(t, http.StatusOK, "POST", path, body).body["workspace"].(map[string]any)
		equal(t, path+": suspended", got["suspended"], any(suspended))
		equal(t, path+": reason", got["reason"], reason)
	}
	state(own, suspend, `{"reason":"leaked"}`, true, "leaked")
	state(own, resume, "", false, nil)
	state(own, suspend, `{"reason":"leaked"}`, true, "leaked")
	state(operator, resume, "", false, nil)

	state(operator, suspend, `{"reason":"abuse"}`, true, "abuse")
	own.refused(t, http.StatusForbidden, "workspace_mismatch", "", "POST", resume, "")
	state(own, suspend, `{"reason":"mine now"}`, true, "abuse")
	own.refused(t, http.StatusForbidden, "workspace_mismatch", "", "POST", resume, "")
	state(operator, resume, "", false, nil)

	state(own, suspend, `{"reason":"leaked"}`, true, "leaked")
	state(operator, suspend, `{"reason":"abuse"}`, true, "abuse")
	own.refused(t, http.StatusForbidden, "workspace_mismatch", "", "POST", resume, "")

}
