// Package described holds requests and responses against the description of the API, in
// the tests of package admin. None of its callers sees a type of the library that reads the
// description: the compiler would make thousands of the library's generic functions for it,
// each time the caller changes.
package described

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// A Description is openapi.yaml.
type Description interface {
	// Version is the version of OpenAPI.
	Version() string
	// Faults returns what is no OpenAPI in the description.
	Faults() []string
	// ErrorCodes returns all codes of errors, and those of lines of an import alone.
	ErrorCodes() (all, ofLines []string)
	// Calls returns all calls.
	Calls() []Call
	// Examples returns all examples.
	Examples() ([]Example, error)
	// Mismatches returns how a call differs from the description, or that it was accepted
	// although its request does.
	Mismatches(r *http.Request, sent []byte, got Answer) []string
}

// A description has what validates requests and responses by it. It is behind an interface
// because even a field that callers cannot name would show them the library's types.
type description struct {
	document  *v3.Document
	validator validator.Validator
	schemas   schema_validation.SchemaValidator
	lines     string
}

// Read reads a description as it is served. Of answers of the content type lines, each line
// is a document of its own.
func Read(served []byte, lines string) (Description, error) {
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
	return &description{&model.Model, all, schema_validation.NewSchemaValidator(config.WithFormatAssertions()), lines}, nil
}

// An Answer is the response to a request.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (d *description) Mismatches(r *http.Request, sent []byte, got Answer) []string {
	path, item := d.path(r.URL.EscapedPath())
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // described by GET's
	}
	if item == nil || item.GetOperations().GetOrZero(strings.ToLower(method)) == nil || method != strings.ToUpper(method) {
		return d.mismatchesOfNoCall(got)
	}
	if got.Header.Get("Content-Type") == d.lines {
		return d.mismatchesOfLines(got)
	}
	request := &http.Request{Method: method, URL: r.URL, Header: r.Header, Host: r.Host, Body: io.NopCloser(bytes.NewReader(sent)), ContentLength: int64(len(sent))}
	response := &http.Response{StatusCode: got.Status, Header: got.Header, Body: io.NopCloser(bytes.NewReader(got.Body))}
	_, errs := d.validator.GetResponseBodyValidator().ValidateResponseBodyWithPathItem(request, response, item, path)
	if got.Status >= http.StatusBadRequest {
		return texts(errs) // a refused request need not match
	}
	_, wrong := d.validator.ValidateHttpRequestSyncWithPathItem(request, item, path)
	return texts(append(errs, wrong...))
}

// mismatchesOfNoCall returns how the response to a request that is not a call
// differs from the description.
func (d *description) mismatchesOfNoCall(got Answer) []string {
	if got.Status == http.StatusMethodNotAllowed {
		return d.mismatchesOfMethod(got)
	}
	name := map[int]string{
		http.StatusUnauthorized: "Unauthorized", http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound",
	}[got.Status]
	if name == "" {
		return []string{"nothing described is answered like this"}
	}
	response := d.document.Components.Responses.GetOrZero(name)
	for field, header := range response.Headers.FromOldest() {
		if header.Required && got.Header.Get(field) == "" {
			return []string{"the header " + field + " is missing"}
		}
	}
	_, errs := d.schemas.ValidateSchemaBytes(response.Content.GetOrZero("application/json").Schema.Schema(), got.Body)
	return texts(errs)
}

// mismatchesOfLines returns how the answers to an import differ from the description, each
// of which is a document of its own.
func (d *description) mismatchesOfLines(got Answer) (all []string) {
	schema := d.document.Components.Schemas.GetOrZero("ImportAnswer").Schema()
	for text := range bytes.Lines(got.Body) {
		_, errs := d.schemas.ValidateSchemaBytes(schema, text)
		all = append(all, texts(errs)...)
	}
	return all
}

// mismatchesOfMethod returns how the response to an unsupported method differs from
// what the description says in prose.
func (d *description) mismatchesOfMethod(got Answer) []string {
	if got.Header.Get("Allow") == "" {
		return []string{"the header Allow is missing"}
	}
	if !bytes.Contains(got.Body, []byte(`"code":"method_not_allowed"`)) {
		return []string{"the code is not method_not_allowed"}
	}
	_, errs := d.schemas.ValidateSchemaBytes(d.document.Components.Schemas.GetOrZero("Error").Schema(), got.Body)
	return texts(errs)
}

// noSegment matches what ServeMux does not accept as a segment of a path.
var noSegment = []string{"", ".", "..", "%2f", "%2F"}

// path finds the description of a path, segment by segment and undecoded.
func (d *description) path(escaped string) (string, *v3.PathItem) {
	segments := strings.Split(escaped, "/")
	for template, item := range d.document.Paths.PathItems.FromOldest() {
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
