package described

import (
	"encoding/json"
	"fmt"

	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

func (d *description) Version() string { return d.document.Version }

func (d *description) Faults() []string {
	_, errs := d.validator.ValidateDocument()
	return texts(errs)
}

func (d *description) ErrorCodes() (all, ofLines []string) {
	schemas := d.document.Components.Schemas
	return values(schemas.GetOrZero("ErrorCode").Schema()), values(schemas.GetOrZero("RefusedLine").Schema().Properties.GetOrZero("code").Schema())
}

func values(schema *base.Schema) (all []string) {
	for _, value := range schema.Enum {
		all = append(all, value.Value)
	}
	return all
}

// A Call is a method of a path.
type Call struct {
	Method, Path, ID, Summary string
	Tags                      []string
	Codes                     map[string][]string // the codes of the errors it is answered with, by status
}

func (d *description) Calls() (all []Call) {
	for path, item := range d.document.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			call := Call{method, path, operation.OperationId, operation.Summary, operation.Tags, map[string][]string{}}
			for status, response := range operation.Responses.Codes.FromOldest() {
				if status >= "400" {
					call.Codes[status] = codesOf(response)
				}
			}
			all = append(all, call)
		}
	}
	return all
}

// codesOf returns the error codes that a response can contain.
func codesOf(response *v3.Response) (codes []string) {
	for _, part := range response.Content.GetOrZero("application/json").Schema.Schema().AllOf {
		if part.IsReference() {
			continue
		}
		code := part.Schema().Properties.GetOrZero("code").Schema()
		if code.Const != nil {
			codes = append(codes, code.Const.Value)
		}
		codes = append(codes, values(code)...)
	}
	return codes
}

// An Example is one of a parameter, or of what is sent or answered.
type Example struct {
	Path, Where string
	Text        []byte   // nil if there should be an example and is none
	Mismatches  []string // how it differs from what it is an example of
}

func (d *description) Examples() (all []Example, err error) {
	add := func(path, where string, schema *base.SchemaProxy, example interface{ Decode(any) error }) {
		var value any
		failed := example.Decode(&value)
		text, encoding := json.Marshal(value)
		for _, problem := range []error{failed, encoding} {
			if problem != nil && err == nil {
				err = fmt.Errorf("%s: %w", where, problem)
			}
		}
		_, errs := d.schemas.ValidateSchemaBytes(schema.Schema(), text)
		all = append(all, Example{path, where, text, texts(errs)})
	}
	for path, item := range d.document.Paths.PathItems.FromOldest() {
		for _, parameter := range item.Parameters {
			add(path, path+" "+parameter.Name, parameter.Schema, parameter.Example)
		}
		for method, operation := range item.GetOperations().FromOldest() {
			for name, content := range d.contents(operation) {
				where := method + " " + path + " " + name
				if content.Examples.Len() == 0 {
					all = append(all, Example{Path: path, Where: where})
				}
				for title, example := range content.Examples.FromOldest() {
					add(path, where+" "+title, content.Schema, example.Value)
				}
			}
		}
	}
	return all, err
}

// contents returns what a call is sent, and what it is answered with by status.
func (d *description) contents(operation *v3.Operation) map[string]*v3.MediaType {
	all := map[string]*v3.MediaType{}
	if operation.RequestBody != nil {
		if content, ok := operation.RequestBody.Content.Get("application/json"); ok {
			all["request"] = content
		}
	}
	for status, response := range operation.Responses.Codes.FromOldest() {
		if response.Content == nil {
			continue // 304 has none
		}
		for _, of := range []string{"application/json", d.lines} {
			if content, ok := response.Content.Get(of); ok {
				all[status] = content
			}
		}
	}
	return all
}
