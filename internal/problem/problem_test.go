package problem

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestErrorShowsThePlace(t *testing.T) {
	for _, c := range []struct {
		p    Problem
		want string
	}{
		{Problem{Message: "wrong"}, "wrong"},
		{Problem{File: "a.yaml", Message: "wrong"}, "a.yaml: wrong"},
		{Problem{File: "a.yaml", Line: 3, Message: "wrong", Warning: true}, "a.yaml:3: warning: wrong"},
		{Problem{File: "a.yaml", Line: 3, Col: 2, Message: "wrong", Hint: "right?", Snippet: "abc"}, "a.yaml:3:2: wrong (right?)\n    abc\n     ^"},
		{Problem{File: "a", Line: 1, Col: 3, Message: "m", Snippet: "\té\tx"}, "a:1:3: m\n    \té\tx\n    \t ^"},
		{Problem{File: "a", Line: 1, Col: 9, Message: "m", Snippet: "abc"}, "a:1:9: m\n    abc\n       ^"},
	} {
		if got := c.p.Error(); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}

// TestLongLines: the caret stands under the same character however long the line is.
func TestLongLines(t *testing.T) {
	for _, n := range []int{maxSnippet - 1, maxSnippet, maxSnippet + 1, 1000} {
		line := []rune(strings.Repeat("ab\u00e9d", n/4+1))[:n]
		for col := 1; col <= n; col += 7 {
			marked := append([]rune(nil), line...)
			marked[col-1] = 'X'
			p := Problem{File: "f", Line: 1, Col: col, Message: "m", Snippet: string(marked)}
			lines := strings.Split(p.Error(), "\n")
			shown, caret := []rune(lines[1]), utf8.RuneCountInString(lines[2])-1
			if len(shown) > maxSnippet+4 {
				t.Fatalf("%d characters are shown of %d", len(shown), n)
			}
			if shown[caret] != 'X' && shown[caret] != '…' {
				t.Fatalf("line of %d, column %d: the caret stands under %q\n%s", n, col, shown[caret], p.Error())
			}
			if shown[caret] == '…' && col > 1 && col < n {
				t.Fatalf("line of %d: column %d is cut away", n, col)
			}
		}
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"eventName", "eventSource", "readOnly", "in_cidr", "type"}
	for word, want := range map[string]string{
		"eventNmae": `did you mean "eventName"?`, "EVENTNAME": `did you mean "eventName"?`, "inCidr": `did you mean "in_cidr"?`, "tpye": `did you mean "type"?`,
		"somethingElse": "", "eventName": "", "": "",
	} {
		if got := Suggest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestListIsAnErrorWhenOneIs(t *testing.T) {
	warning, wrong := &Problem{File: "b", Message: "w", Warning: true}, &Problem{File: "a", Line: 2, Message: "e"}
	if (List{warning}).Err() != nil || (List{}).Err() != nil {
		t.Error("warnings stop a load")
	}
	list := List{warning, wrong}
	if list.Err() == nil || len(list.Errors()) != 1 || len(list.Warnings()) != 1 {
		t.Errorf("%v", list)
	}
	list.Sort()
	if list[0] != wrong {
		t.Error("not sorted by file")
	}
	var all List
	all.AddErr("f", nil)
	all.AddErr("f", fmt.Errorf("load: %w", list))
	all.AddErr("f", fmt.Errorf("load: %w", wrong))
	all.AddErr("f", errors.New("plain"))
	if len(all) != 4 || all[3].File != "f" || all[3].Message != "plain" || all[2] != wrong {
		t.Errorf("%v", all)
	}
}
