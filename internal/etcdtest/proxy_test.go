package etcdtest

import "testing"

func TestProxy(t *testing.T) {
	c := Start(t, 1, TLS())
	p := NewProxy(t, c.Member(0).Address())
	endpoints := []string{"https://" + p.Addr()}
	put := func(value string) error {
		_, err := c.TryCtl(endpoints, "put", "key", value, "--command-timeout=1s", "--dial-timeout=500ms")
		return err
	}
	steps := []struct {
		name  string
		do    func()
		fails bool
		want  string // value in etcd
	}{
		{"passes", func() {}, false, "passes"},
		{"stalls", func() { p.Stall() }, true, "passes"},
		{"passes again", p.Pass, false, "passes again"},
		{"drops", p.Drop, true, "passes again"},
		{"passes at last", p.Pass, false, "passes at last"},
	}
	for _, s := range steps {
		s.do()
		if err := put(s.name); (err != nil) != s.fails {
			t.Errorf("a proxy that %s: got %v, want an error: %t", s.name, err, s.fails)
		}
		if got := value(t, c.Member(0), "key"); got != s.want {
			t.Errorf("after a proxy that %s: got %q, want %q", s.name, got, s.want)
		}
	}
}
