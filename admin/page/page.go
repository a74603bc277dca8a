// Package page serves the Settings > API page, where people create, rotate and revoke
// keys. Its files are embedded, need no build step, and send requests only to the admin
// API on the same mount.
//
// The browser allows them only what they need: no other scripts or styles, no other
// server, no framing, and no text that becomes markup.
package page

import (
	"bytes"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed files
var embedded embed.FS

// policy is the page's Content-Security-Policy (CSP Level 3). Only the library that
// draws the page may turn text into markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types lit-html"

// headers are set on every file. The page is never cached, so that an upgrade takes
// effect immediately, and a page that showed a token is not restored from memory.
var headers = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      policy,
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// types are the media types of the files. Those configured on the system may be wrong.
var types = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
}

// files are the contents, by path below the mount.
var files = read()

func read() map[string][]byte {
	files := make(map[string][]byte)
	err := fs.WalkDir(embedded, "files", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || types[path.Ext(name)] == "" {
			return err
		}
		content, err := embedded.ReadFile(name)
		files["/page"+strings.TrimPrefix(name, "files")] = content
		return err
	})
	if err != nil {
		panic(err) // the files are embedded
	}
	files["/"] = files["/page/index.html"]
	delete(files, "/page/index.html")
	return files
}

// A Page serves the files at one mount.
type Page struct{ own map[string][]byte }

// New returns the page as a part of a site.
func New(site Site) *Page { return &Page{siteFiles(site)} }

// Has reports whether the page has a path below the mount. The empty path is the mount
// without its slash.
func (p *Page) Has(path string) bool { return path == "" || p.file(path) != nil }

func (p *Page) file(path string) []byte {
	if own, ok := p.own[path]; ok {
		return own
	}
	return files[path]
}

// Serve answers a GET or HEAD of a path that the page has. It requires no credentials:
// the files of a mount are the same for everyone.
func (p *Page) Serve(w http.ResponseWriter, r *http.Request) {
	for name, value := range headers {
		w.Header().Set(name, value)
	}
	if r.URL.Path == "" {
		toSlash(w, r)
		return
	}
	kind := path.Ext(r.URL.Path)
	if kind == "" {
		kind = ".html"
	}
	w.Header().Set("Content-Type", types[kind])
	r.Header.Del("Range") // an unsatisfiable range would be answered without these headers
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(p.file(r.URL.Path)))
}

// toSlash redirects to the mount with its slash, which the page's relative URLs need.
// The redirect names only the last segment of the path, because a proxy may have removed
// those before it.
func toSlash(w http.ResponseWriter, r *http.Request) {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	w.Header().Set("Location", "./"+path.Base(asked)+"/")
	w.WriteHeader(http.StatusPermanentRedirect)
}
