package admin

import (
	_ "embed"
	"net/http"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// openapiYAML describes every call of the route table.
//
//go:embed openapi.yaml
var openapiYAML []byte

// openapiJSON is the description as it is served.
var openapiJSON = sync.OnceValues(func() (jsontext.Value, error) {
	var description any
	if err := yaml.Unmarshal(openapiYAML, &description); err != nil {
		return nil, err
	}
	return json.Marshal(description, json.Deterministic(true))
})

func (h *Handler) openapi(*http.Request) (int, any, error) {
	description, err := openapiJSON()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, description, nil
}
