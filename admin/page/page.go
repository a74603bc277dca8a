// Package page serves the Settings > API page, on which people make, rotate and
// revoke keys. Its files are part of the binary, need no building, and ask
// nobody but the admin API that they are served beside.
//
// What the browser may do with them is as little as they need: no script and no
// style but those files, no other server, no frame around the page, and no text
// that becomes markup.
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

// policy is the page's Content-Security-Policy (CSP Level 3). Texts become
// markup only through the one library that draws it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types lit-html"

// headers are set on every file. Nothing keeps a copy of the page, so that a new
// binary is a new page, and no page that showed a token comes back from memory.
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

// types are the media types of the files. What the system knows of them may be
// anything.
var types = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// files are the contents by their path below the mount.
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
		panic(err) // of files that are part of the binary
	}
	files["/"] = files["/page/index.html"]
	delete(files, "/page/index.html")
	return files
}

// Has reports whether a path below the mount is one of the page. The mount
// itself without a slash is.
func Has(path string) bool { return path == "" || files[path] != nil }

// Serve answers a GET or a HEAD of a path that the page has. It needs no
// credentials: the files are the same for everybody.
func Serve(w http.ResponseWriter, r *http.Request) {
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
	r.Header.Del("Range") // a part that there is not would be answered without these headers
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(files[r.URL.Path]))
}

// toSlash sends a browser to the mount with its slash, below which the page
// finds its files. Only what is asked for last is named: what stands before it
// may have been removed on the way here.
func toSlash(w http.ResponseWriter, r *http.Request) {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	w.Header().Set("Location", "./"+path.Base(asked)+"/")
	w.WriteHeader(http.StatusPermanentRedirect)
}
