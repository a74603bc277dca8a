package page

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// serve answers a request for a path below a mount at /settings/api.
func serve(method, below string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/settings/api"+below, nil)
	r.URL.Path = below
	w := httptest.NewRecorder()
	New(Site{}).Serve(w, r)
	return w
}

// all returns the page's files, with those that differ from mount to mount.
func all() map[string][]byte {
	all := siteFiles(Site{})
	maps.Copy(all, files)
	return all
}

func TestHas(t *testing.T) {
	tests := []struct {
		path string
		want bool
	}{
		{"", true},
		{"/", true},
		{"/page/main.js", true},
		{"/page/style/base.css", true},
		{"/page/vendor/lit-html.js", true},
		{"/page/site.json", true},
		{"/page/site.css", true},
		{"/page/index.html", false}, // it is served at the mount itself, where its relative URLs work
		{"/page", false},
		{"/page/", false},
		{"/page/vendor", false},
		{"/page/vendor/LICENSE", false},
		{"/page/../page/main.js", false},
		{"/page/page.go", false},
		{"/mount", false},
		{"/workspaces/acme/keys", false},
	}
	for _, tt := range tests {
		if got := New(Site{}).Has(tt.path); got != tt.want {
			t.Errorf("Has(%q): got %v, want %v", tt.path, got, tt.want)
		}
	}
}

func TestServe(t *testing.T) {
	for name := range all() {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			got := serve(method, name)
			if got.Code != http.StatusOK {
				t.Errorf("%s %s: got status %d, want 200", method, name, got.Code)
			}
			want := types[path.Ext(name)]
			if name == "/" {
				want = types[".html"]
			}
			if kind := got.Header().Get("Content-Type"); kind != want {
				t.Errorf("%s: got type %q, want %q", name, kind, want)
			}
			for header, want := range headers {
				if got := got.Header().Get(header); got != want {
					t.Errorf("%s: got %s %q, want %q", name, header, got, want)
				}
			}
		}
	}
}

func TestServe_withoutSlash(t *testing.T) {
	tests := []struct{ asked, want string }{
		{"/settings/api", "./api/"},
		{"/settings/api?from=mail", "./api/"},
		{"//evil.example", "./evil.example/"},
		{"/javascript:alert(1)", "./javascript:alert(1)/"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RequestURI, r.URL.Path = tt.asked, ""
		w := httptest.NewRecorder()
		New(Site{}).Serve(w, r)
		if got := w.Header().Get("Location"); w.Code != http.StatusPermanentRedirect || got != tt.want {
			t.Errorf("%s: got %d to %q, want 308 to %q", tt.asked, w.Code, got, tt.want)
		}
	}
}

// The files contain nothing that the policy forbids, and request nothing but each other.
func TestFiles_withinThePolicy(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"inline script":    regexp.MustCompile(`(?i)<script(?:[^>]*[^>\s])?>[^<]|\son\w+\s*=\s*["']|javascript:`),
		"inline style":     regexp.MustCompile(`(?i)<style|\sstyle\s*=`),
		"markup from text": regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|unsafeHTML|eval\(|new Function`),
		"another server":   regexp.MustCompile(`(?i)(?:src|href|from|url\(|import\()\s*=?\s*["'(]?(?:https?:)?//`),
		"storage":          regexp.MustCompile(`localStorage|sessionStorage|indexedDB|document\.cookie|caches\.`),
	}
	for name, content := range files {
		if strings.Contains(name, "/vendor/") {
			continue
		}
		for what, pattern := range forbidden {
			if found := pattern.Find(content); found != nil {
				t.Errorf("%s holds %s: %q", name, what, found)
			}
		}
	}
}

// The page finds tokens in a text with the server's pattern.
func TestFiles_tokenPattern(t *testing.T) {
	if want := "const shape = /" + apikey.TokenPattern + "/;\n"; !strings.Contains(string(files["/page/tokens.js"]), want) {
		t.Errorf("tokens.js: want %q in it", want)
	}
}

// The page loads every style.
func TestFiles_styles(t *testing.T) {
	for name := range all() {
		if path.Ext(name) == ".css" && !strings.Contains(string(files["/"]), `<link rel="stylesheet" href="`+name[1:]+`">`) {
			t.Errorf("the page does not load %s", name)
		}
	}
}

// Every file that a module imports exists.
func TestFiles_imports(t *testing.T) {
	imports := regexp.MustCompile(`(?m)^import .* from "(\.[^"]+)"(?: with \{type: "json"\})?;$`)
	found := 0
	for name, content := range files {
		for _, imported := range imports.FindAllSubmatch(content, -1) {
			found++
			if wanted := path.Join(path.Dir(name), string(imported[1])); all()[wanted] == nil {
				t.Errorf("%s imports %s, which is not there", name, wanted)
			}
		}
	}
	if found == 0 {
		t.Error("got no imports in any file, want those of the modules")
	}
}

// The library is exactly the one that vendor/README.md names.
func TestFiles_library(t *testing.T) {
	sum := sha256.Sum256(files["/page/vendor/lit-html.js"])
	const want = "b878e7f95dec8a9b6e9b217faca6b6a11bad82ebc44c0caa77419ed83edd81f2" // of lit-html 3.3.3
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("lit-html.js: got SHA-256 %s, want %s", got, want)
	}
	licence, err := fs.ReadFile(embedded, "files/vendor/LICENSE")
	if err != nil || !strings.Contains(string(licence), "BSD 3-Clause") {
		t.Errorf("got the licence %q (%v), want the BSD 3-Clause License", licence, err)
	}
}
