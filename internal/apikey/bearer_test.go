package apikey

import "testing"

func TestBearer(t *testing.T) {
	for _, tt := range []struct {
		field, token string
		ok           bool
	}{
		{"Bearer x", "x", true},
		{"bearer x", "x", true},
		{"BEARER x", "x", true},
		{"Bearer  x", " x", true}, // which no token begins with
		{"Bearer x y", "x y", true},
		{"", "", false},
		{"Bearer", "", false},
		{"Bearer ", "", false},
		{"Bearer\tx", "", false},
		{"Bearerx", "", false},
		{"Bearers x", "", false},
		{" Bearer x", "", false},
		{"Basic eDp5", "", false},
		{"Bearer\u00a0x", "", false},
		{"Ｂearer x", "", false},
	} {
		if token, ok := Bearer(tt.field); token != tt.token || ok != tt.ok {
			t.Errorf("Bearer(%q): got %q, %v, want %q, %v", tt.field, token, ok, tt.token, tt.ok)
		}
	}
}
