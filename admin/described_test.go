package admin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// description is openapi.yaml, with what validates requests and responses by it.
type description struct {
	*v3.Document
	validator.Validator
	schemas schema_validation.SchemaValidator
}

// described returns the description, read as by clients, and only once: compiling
// it takes a while.
var described = sync.OnceValues(func() (*description, error) {
	served, err := openapiJSON()
	if err != nil {
		return nil, err
	}
	document, err := libopenapi.NewDocument(served)
	if err != nil {
		return nil, err
	}
	model, err := document.BuildV3Model()
	if err != nil {
		return nil, err
	}
	all, errs := validator.NewValidator(document, config.WithFormatAssertions())
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return &description{&model.Model, all, schema_validation.NewSchemaValidator(config.WithFormatAssertions())}, nil
})

func theDescription(t testing.TB) *description {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatalf("reading the description: %v", err)
	}
	return d
}

// held wraps a handler, and fails the test if a response does not match the
// description, or if a request that does not match it is accepted. All requests of
// the tests go through it.
func held(t testing.TB, next http.Handler) http.Handler {
	d := theDescription(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var sent bytes.Buffer
		heard := &recorder{ResponseWriter: w, status: http.StatusOK}
		if r.URL.Path == "/import" {
			next.ServeHTTP(duplex{heard}, teed(r, &sent))
		} else {
			next.ServeHTTP(heard, teed(r, &sent))
		}
		for _, mismatch := range d.mismatches(r, sent.Bytes(), heard) {
			t.Errorf("%s %s answered with %d and %s: %s", r.Method, r.URL, heard.status, heard.body.Bytes(), mismatch)
		}
	})
}

// teed returns a request whose body is copied as it is read.
func teed(r *http.Request, to io.Writer) *http.Request {
	copied := *r
	copied.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, to), r.Body}
	return &copied
}

// recorder keeps a copy of a response.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// duplex is a recorder of responses that begin before their request has ended.
type duplex struct{ *recorder }

// Unwrap returns the writer that is recorded, for [http.ResponseController].
func (w duplex) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// mismatches returns how a call differs from the description.
func (d *description) mismatches(r *http.Request, sent []byte, got *recorder) []string {
	path, item := d.path(r.URL.EscapedPath())
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // described by GET's
	}
	if item == nil || item.GetOperations().GetOrZero(strings.ToLower(method)) == nil || method != strings.ToUpper(method) {
		return d.mismatchesOfNoCall(got)
	}
	if got.Header().Get("Content-Type") == importType {
		return d.mismatchesOfLines(got)
	}
	request := &http.Request{Method: method, URL: r.URL, Header: r.Header, Host: r.Host, Body: io.NopCloser(bytes.NewReader(sent)), ContentLength: int64(len(sent))}
	response := &http.Response{StatusCode: got.status, Header: got.Header(), Body: io.NopCloser(bytes.NewReader(got.body.Bytes()))}
	_, errs := d.GetResponseBodyValidator().ValidateResponseBodyWithPathItem(request, response, item, path)
	if got.status >= http.StatusBadRequest {
		return texts(errs) // a refused request need not match
	}
	_, wrong := d.ValidateHttpRequestSyncWithPathItem(request, item, path)
	return texts(append(errs, wrong...))
}

// mismatchesOfNoCall returns how the response to a request that is not a call
// differs from the description.
func (d *description) mismatchesOfNoCall(got *recorder) []string {
	if got.status == http.StatusMethodNotAllowed {
		return d.mismatchesOfMethod(got)
	}
	name := map[int]string{
		http.StatusUnauthorized: "Unauthorized", http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound",
	}[got.status]
	if name == "" {
		return []string{"nothing described is answered like this"}
	}
	response := d.Components.Responses.GetOrZero(name)
	for field, header := range response.Headers.FromOldest() {
		if header.Required && got.Header().Get(field) == "" {
			return []string{"the header " + field + " is missing"}
		}
	}
	_, errs := d.schemas.ValidateSchemaBytes(response.Content.GetOrZero("application/json").Schema.Schema(), got.body.Bytes())
	return texts(errs)
}

// mismatchesOfLines returns how the answers to an import differ from the description, each
// of which is a document of its own.
func (d *description) mismatchesOfLines(got *recorder) (all []string) {
	schema := d.Components.Schemas.GetOrZero("ImportAnswer").Schema()
	for text := range bytes.Lines(got.body.Bytes()) {
		_, errs := d.schemas.ValidateSchemaBytes(schema, text)
		all = append(all, texts(errs)...)
	}
	return all
}

// mismatchesOfMethod returns how the response to an unsupported method differs from
// what the description says in prose.
func (d *description) mismatchesOfMethod(got *recorder) []string {
	if got.Header().Get("Allow") == "" {
		return []string{"the header Allow is missing"}
	}
	if !bytes.Contains(got.body.Bytes(), []byte(`"code":"method_not_allowed"`)) {
		return []string{"the code is not method_not_allowed"}
	}
	_, errs := d.schemas.ValidateSchemaBytes(d.Components.Schemas.GetOrZero("Error").Schema(), got.body.Bytes())
	return texts(errs)
}

// noSegment matches what ServeMux does not accept as a segment of a path.
var noSegment = []string{"", ".", "..", "%2f", "%2F"}

// path finds the description of a path, segment by segment and undecoded.
func (d *description) path(escaped string) (string, *v3.PathItem) {
	segments := strings.Split(escaped, "/")
	for template, item := range d.Paths.PathItems.FromOldest() {
		wanted := strings.Split(template, "/")
		matches := len(wanted) == len(segments)
		for i := 0; matches && i < len(wanted); i++ {
			matches = wanted[i] == segments[i] || strings.HasPrefix(wanted[i], "{") && !slices.Contains(noSegment, segments[i])
		}
		if matches {
			return template, item
		}
	}
	return "", nil
}

func texts(errs []*errors.ValidationError) (all []string) {
	for _, err := range errs {
		text := err.Message + ": " + err.Reason
		for _, violation := range err.SchemaValidationErrors {
			text += fmt.Sprintf("\n\t%s at %q", violation.Reason, violation.FieldPath)
		}
		all = append(all, text)
	}
	return all
}
