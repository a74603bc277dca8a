package apikey

import (
	"errors"
	"strings"
	"testing"
)

func TestParseName_mixedScripts(t *testing.T) {
	for name, hint := range map[string]string{
		"Zаpier production": `"Zаpier" has the Latin letter "Z" (U+005A) and the Cyrillic letter "а" (U+0430)`,
		"Export CRMка":      `the Cyrillic letter "к" (U+043A)`,
		"Οmega export":      `the Greek letter "Ο" (U+039F) and the Latin letter "m"`,
		"βeta export":       `the Greek letter "β" (U+03B2)`,
		"Σалес":             `the Cyrillic letter`,
		"р2p billing":       `"р2p"`,
		"Zapier_prоd":       `"prоd"`,
		"Zapier's аpi":      `"аpi"`,
		"Ꭺcme sync":         `the Cherokee letter`,
		"カナかйа":             `the Cyrillic letter`,
		"한글カナ":              `the Hangul letter "한" (U+D55C) and the Katakana letter "カ" (U+30AB)`,
		"ab\u0301\u0430":    `the Cyrillic letter`,
	} {
		_, err := ParseName(name)
		if !errors.Is(err, ErrInvalidName) || !strings.Contains(err.Error(), hint) {
			t.Errorf("ParseName(%q): got %v, want it refused with %q", name, err, hint)
		}
	}
	for _, name := range []string{
		"Ключ от CRM", "CRM-ключ", "API/ключ", "1С:Бухгалтерия", "東京API", "Tシャツ販売", "カタカナとひらがな漢字", "한국어API", "APIของเรา",
		"הAPI", "الAPI", "5 µs poll", "Ελλάδα EU", "Straße", "Łódź", "İstanbul", "हिन्दीAPI", "ⓐⓑⓒ", "𝐀𝐁𝐂", "ＡＢＣ sync", "№ 7 экспорт",
	} {
		if _, err := ParseName(name); err != nil {
			t.Errorf("ParseName(%q): got %v, want it taken", name, err)
		}
	}
}
