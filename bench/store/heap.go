package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// liveHeap returns how many bytes of the server's Go heap are in use.
func liveHeap() (int64, error) {
	for range 2 { // the second collection frees what the first one found in pools
		if err := get("/debug/pprof/heap?gc=1", func(body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			return err
		}); err != nil {
			return 0, err
		}
	}
	var vars struct {
		Memory struct{ HeapAlloc int64 } `json:"memstats"`
	}
	err := get("/debug/vars", func(body io.Reader) error { return json.NewDecoder(body).Decode(&vars) })
	return vars.Memory.HeapAlloc, err
}

// get reads what the admin endpoint has at a path.
func get(path string, read func(io.Reader) error) error {
	response, err := http.Get("http://" + endpoint + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: got %s, want 200", path, response.Status)
	}
	return read(response.Body)
}
