package ingest

import (
	"bytes"

	"riposte/event"
)

// entryKind recognises findings and compliance changes by the members that each
// has; 0 is none of them.
func entryKind(raw []byte) event.Kind {
	has := func(names ...string) bool {
		for _, n := range names {
			if event.Member(raw, n) == nil {
				return false
			}
		}
		return true
	}
	switch {
	case has("configRuleName", "newEvaluationResult"):
		return event.Compliance
	case has("ProductArn", "GeneratorId", "AwsAccountId"), has("finding_info", "class_uid", "metadata"):
		return event.SecurityHub
	case has("id", "accountId", "type", "service", "resource"), has("Id", "AccountId", "Type", "Service", "Resource"):
		return event.GuardDuty
	}
	return 0
}

// unwrapList keeps what the objects of a list are, all of them known or none.
func (r *Reader) unwrapList(list []byte, offset, line int64, depth int) (known bool, err error) {
	for rest := list[1:]; ; {
		rest = bytes.TrimLeft(rest, " \t\r\n,")
		if len(rest) == 0 || rest[0] != '{' {
			return known, nil
		}
		n, err := event.SkipValue(rest)
		if err != nil {
			return known, nil
		}
		ok, err := r.unwrap(rest[:n], offset, line, depth+1)
		if err != nil {
			return true, err
		}
		if !ok && known {
			if err := r.broken(0, offset, line, rest[:n], "this finding of a list is none that is known"); err != nil {
				return true, err
			}
		}
		known = known || ok
		rest = rest[n:]
	}
}
