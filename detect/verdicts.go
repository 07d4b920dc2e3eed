package detect

import (
	"riposte/event"
	"riposte/internal/expr"
)

// verdicts remembers what part of a rule's condition says of the values that it
// reads. Flow log records repeat: the same two machines, the same port, again and
// again, while packets, bytes and times are new in each. The part that looks at
// none of those is evaluated once for the same values, in whatever batch they come.
// The findings are those of evaluating every record, because the verdict is.
type verdicts struct {
	part  *expr.Part
	known map[string]expr.Verdict
	most  int // that are remembered
	key   []byte

	looked, held int
	off          bool
}

const (
	// verdictKeys is how many sets of values an engine remembers, over all rules.
	verdictKeys = 64 << 10
	// verdictTrial is how many look-ups decide whether remembering helps.
	verdictTrial = 4096
)

// singular are the fields that are new in nearly every record.
func singular(f event.Field) bool {
	switch f {
	case event.FlowPackets, event.FlowBytes, event.FlowStart, event.FlowEnd, event.FlowSrcPort, event.FlowTCPFlags,
		event.FlowPacketsLostNoRoute, event.FlowPacketsLostBlackhole, event.FlowPacketsLostMTUExceeded, event.FlowPacketsLostTTLExpired:
		return true
	}
	return false
}

// parts are what can be remembered of each rule of an index, nil where nothing can.
func parts(kind event.Kind, rules []*Rule) []*expr.Part {
	out := make([]*expr.Part, len(rules))
	if kind != event.FlowLog {
		return out
	}
	for i, r := range rules {
		// A part that cannot be planned is evaluated with the rest.
		out[i], _ = r.when.Part(func(f event.Field) bool { return !singular(f) })
	}
	return out
}

// verdicts are an engine's memory for an index.
func (ix *index) verdicts() []*verdicts {
	out := make([]*verdicts, len(ix.rules))
	n := 0
	for _, p := range ix.parts {
		if p != nil {
			n++
		}
	}
	for i, p := range ix.parts {
		if p != nil {
			out[i] = &verdicts{part: p, known: map[string]expr.Verdict{}, most: max(64, verdictKeys/n)}
		}
	}
	return out
}

// of returns what is remembered, or what evaluate says.
func (v *verdicts) of(e *event.Event, evaluate func() expr.Verdict) expr.Verdict {
	if v.off {
		return expr.Open
	}
	key := v.key[:0]
	for _, f := range v.part.Reads() {
		if b, ok := e.Plain(f); ok {
			key = append(key, b...)
		}
		key = append(key, ' ') // which no column holds
	}
	v.key = key
	v.looked++
	if verdict, ok := v.known[string(key)]; ok {
		v.held++
		return verdict
	}
	if v.looked%verdictTrial == 0 {
		if v.held < v.looked/4 {
			v.off, v.known = true, nil
			return expr.Open
		}
		v.looked, v.held = 0, 0
	}
	verdict := evaluate()
	if len(v.known) >= v.most {
		clear(v.known)
	}
	v.known[string(key)] = verdict
	return verdict
}
