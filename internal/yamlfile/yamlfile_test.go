package yamlfile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"riposte/internal/problem"
)

type doc struct {
	Place
	Name  string            `yaml:"name"`
	When  Text              `yaml:"when"`
	Wait  time.Duration     `yaml:"wait"`
	N     int               `yaml:"n"`
	On    bool              `yaml:"on"`
	Tags  []string          `yaml:"tags"`
	Free  map[string]any    `yaml:"free"`
	Sub   *sub              `yaml:"sub"`
	Words map[string]string `yaml:"words"`
}

type sub struct {
	Place
	Key string `yaml:"key"`
}

func TestDecode(t *testing.T) {
	var d doc
	err := Decode("f.yaml", []byte("name: 007\nwhen: |\n  a &&\n    b\nwait: 90s\nn: 5\non: true\ntags: [x, 1]\nfree: {a: {b: [1, 2.5, x, 2024-01-01T00:00:00Z]}}\nsub:\n  key: v\n"), &d)
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "007" || d.Wait != 90*time.Second || d.N != 5 || !d.On || d.Tags[1] != "1" || d.Sub.Key != "v" || d.Sub.Line != 11 {
		t.Errorf("%+v", d)
	}
	if list := d.Free["a"].(map[string]any)["b"].([]any); list[0] != 1 || list[1] != 2.5 || list[3] != "2024-01-01T00:00:00Z" {
		t.Errorf("free form: %#v", list)
	}
	if l, c := d.When.Place(2, 3); l != 4 || c != 5 {
		t.Errorf("place of b: %d:%d, want 4:5", l, c)
	}
}

func TestTextPlaces(t *testing.T) {
	for _, c := range []struct {
		yaml                    string
		line, col, wantL, wantC int
	}{
		{"when: a && b", 1, 6, 1, 12},
		{"when: 'a && b'", 1, 6, 1, 13},
		{"when: |\n    a &&\n    b", 2, 1, 3, 5},
		{"when: >\n  a &&\n  bcd", 1, 6, 3, 3},
		{"when: >-\n  aa bb\n\n  cc\n  dd", 2, 4, 5, 3},
	} {
		var d doc
		if err := Decode("f.yaml", []byte(c.yaml), &d); err != nil {
			t.Fatal(err)
		}
		if l, col := d.When.Place(c.line, c.col); l != c.wantL || col != c.wantC {
			t.Errorf("%q: %d:%d, want %d:%d", c.yaml, l, col, c.wantL, c.wantC)
		}
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	var d doc
	err := Decode("f.yaml", []byte("nmae: x\nn: many\nwait: soon\ntags: no\non: 3\nn: 4\nsub: [1]\n"), &d)
	var list problem.List
	if !errors.As(err, &list) || len(list) != 7 {
		t.Fatalf("%d problems, want 7:\n%v", len(list), err)
	}
	for i, want := range []string{
		`f.yaml:1:1: unknown key "nmae" (did you mean "name"?)`, `f.yaml:2:4: n: want a number`, `f.yaml:3:7: wait: want a duration`,
		`f.yaml:4:7: tags: want a list, got "no"`, `f.yaml:5:5: on: want true or false`, `f.yaml:6:1: key "n" is given twice, first on line 2`,
		`f.yaml:7:6: sub: want keys and values, got a list`,
	} {
		if !strings.HasPrefix(list[i].Error(), want) {
			t.Errorf("problem %d: %v\nwant %s", i, list[i], want)
		}
	}
}

func TestRefuses(t *testing.T) {
	bomb := "words: &a {x: y}\nfree:\n  a: &b [1,1,1,1,1,1,1,1,1,1]\n  c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n  d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n  e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n  f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n  g: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n"
	for name, c := range map[string]struct{ in, want string }{
		"empty":     {"", "empty"},
		"syntax":    {"a: [1\nb: 2", "not valid YAML"},
		"documents": {"name: a\n---\nname: b\n", "second YAML document"},
		"bomb":      {bomb, "expands to more than"},
		"list":      {"[a]", "want keys and values"},
	} {
		var d doc
		if err := Decode("f.yaml", []byte(c.in), &d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: x\nwhen: >\n  a\n  b\nfree: {a: [1]}\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d doc
		if err := Decode("f.yaml", data, &d); err != nil {
			var list problem.List
			if !errors.As(err, &list) {
				t.Fatalf("not a problem list: %v", err)
			}
		}
		for line := range 4 {
			d.When.Problem(line+1, 3, "x")
		}
	})
}

// TestLineBreaks: lines are counted as YAML counts them, so that the line shown
// is the one that is meant.
func TestLineBreaks(t *testing.T) {
	for name, br := range map[string]string{"unix": "\n", "dos": "\r\n", "old mac": "\r", "next line": "\u0085"} {
		var d doc
		err := Decode("f.yaml", []byte("name: x"+br+"nmae: y"+br), &d)
		if err == nil || !strings.Contains(err.Error(), `f.yaml:2:1: unknown key "nmae"`) || !strings.Contains(err.Error(), "\n    nmae: y\n    ^") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
