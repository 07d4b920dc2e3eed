package console

import (
	"strings"

	"riposte/event"
)

// truthNode is a node of an explanation as it is shown.
type truthNode struct {
	Mark, Word string // ✓ and "held"
	Class      string
	Expr       string
	Value      string // what was read, "" for a verdict
	Error      string
	Steps      []truthNode
}

const (
	maxTruthNodes = 400
	maxTruthDepth = 24
)

// showTruth prepares an explanation. A hostile or odd rule may make a deep or
// wide one, of which the beginning is shown.
func showTruth(t *event.Truth) truthNode {
	left := maxTruthNodes
	return truthOf(t, &left, 0)
}

func truthOf(t *event.Truth, left *int, depth int) truthNode {
	*left--
	n := truthNode{Expr: cut(600, strings.Join(strings.Fields(t.Expr), " ")), Error: cut(600, t.Error)}
	switch v := string(t.Value); {
	case t.Error != "":
		n.Mark, n.Word, n.Class = "!", "no verdict", "broken"
	case v == "true":
		n.Mark, n.Word, n.Class = "✓", "true", "held"
	case v == "false":
		n.Mark, n.Word, n.Class = "✗", "false", "not-held"
	case v != "":
		n.Mark, n.Word, n.Class, n.Value = "=", "read", "read", cut(600, v)
	default:
		n.Mark, n.Word, n.Class = "·", "not evaluated", "unseen"
	}
	for i := range t.Steps {
		if *left <= 0 || depth >= maxTruthDepth {
			n.Steps = append(n.Steps, truthNode{Mark: "…", Word: "left out", Class: "unseen", Expr: "the rest is in the JSON"})
			break
		}
		n.Steps = append(n.Steps, truthOf(&t.Steps[i], left, depth+1))
	}
	return n
}
