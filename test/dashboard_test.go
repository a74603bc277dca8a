package test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// dashboard is what the tests need to know of Grafana's format.
type dashboard struct {
	SchemaVersion int
	Templating    struct{ List []struct{ Name string } }
	Panels        []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ UID string }
	Targets                  []struct{ Expr string }
	FieldConfig              struct {
		Defaults struct{ Unit, NoValue string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/dashboard.json")
	must(t, err)
	must(t, json.Unmarshal(text, &d))
	return d
}

// TestDashboard_readsAlone verifies what somebody needs who has never seen it: the rows ask
// what its panels answer, and every panel says what it shows.
func TestDashboard_readsAlone(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.SchemaVersion < 39 {
		t.Errorf("got the schema %d, want that of Grafana 11: 39", d.SchemaVersion)
	}
	if len(d.Panels) == 0 || d.Panels[0].Type != "row" {
		t.Fatal("the dashboard does not begin with a row")
	}
	for _, p := range d.Panels {
		if p.Type == "row" {
			if !strings.HasSuffix(p.Title, "?") {
				t.Errorf("the row %q asks nothing", p.Title)
			}
			continue
		}
		if !slices.Contains([]string{"timeseries", "stat", "bargauge", "table"}, p.Type) {
			t.Errorf("%s: got a panel of type %q", p.Title, p.Type)
		}
		if !strings.HasSuffix(p.Description, ".") {
			t.Errorf("%s: got the description %q, want a sentence", p.Title, p.Description)
		}
		if p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s has no unit", p.Title)
		}
		if p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: got the data source %q, want the one that is chosen", p.Title, p.Datasource.UID)
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
	}
}

// TestDashboard_layout verifies that no panel hides another one, and that they stand in the
// order in which they are read.
func TestDashboard_layout(t *testing.T) {
	t.Parallel()
	panels := readDashboard(t).Panels
	ids := make(map[int]bool)
	for i, p := range panels {
		if ids[p.ID] {
			t.Errorf("%s has the id %d of another panel", p.Title, p.ID)
		}
		ids[p.ID] = true
		at := p.GridPos
		if at.X < 0 || at.W < 1 || at.H < 1 || at.X+at.W > 24 {
			t.Errorf("%s does not fit on the page: %+v", p.Title, at)
		}
		for _, other := range panels[:i] {
			o := other.GridPos
			if at.X < o.X+o.W && o.X < at.X+at.W && at.Y < o.Y+o.H && o.Y < at.Y+at.H {
				t.Errorf("%s and %s overlap", other.Title, p.Title)
			}
			if other.Type == "row" && at.Y <= o.Y {
				t.Errorf("%s stands above the row %q, which comes before it", p.Title, other.Title)
			}
		}
	}
}

// TestDashboard_variables verifies that the data source, the job and the gateway can be
// chosen, and that every panel heeds the choice.
func TestDashboard_variables(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	var names []string
	for _, variable := range d.Templating.List {
		names = append(names, variable.Name)
	}
	if want := []string{"datasource", "job", "instance"}; !slices.Equal(names, want) {
		t.Errorf("got the variables %q, want %q", names, want)
	}
	const chosen = `{job=~"$job", instance=~"$instance"`
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			if strings.Contains(target.Expr, "ALERTS{") {
				continue // an alert about a job has no instance
			}
			if got, want := strings.Count(target.Expr, chosen), strings.Count(target.Expr, "{"); got != want || want == 0 {
				t.Errorf("%s: %d of %d selectors heed what is chosen:\n%s", p.Title, got, want, target.Expr)
			}
		}
	}
}
