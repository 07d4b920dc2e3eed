package detect_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"riposte/detect"
	"riposte/internal/problem"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// tenMistakes is a rule with as many mistakes as somebody can make in a hurry.
const tenMistakes = `id: Evasion_Ten
tittle: Ten mistakes
severity: hihg
source: cloudtrial
summary: '${actor.nmae} did ${eventName'
when: |
  eventSorce == "iam.amazonaws.com" &&
  userIdentity.tpye == "Root" &&
  readOnly == "yes" &&
  eventName.matches("([")
group:
  - actor.anr
attack: [T15621]
enabled: maybe
tests:
  - name: a
    event: {eventName: X}
  - fires: true
`

// TestEveryMistakeAtOnce wants each mistake with its place, its line with a
// caret and what was probably meant, and all of them in one load.
func TestEveryMistakeAtOnce(t *testing.T) {
	_, err := detect.LoadAll([]detect.Folder{{Name: "rules", FS: fstest.MapFS{"ten.yaml": file(tenMistakes)}}}, detect.Options{Lists: lists(t)})
	if err == nil {
		t.Fatal("it loads")
	}
	want := `rules/ten.yaml:1:1: the rule has no title
    id: Evasion_Ten
    ^
rules/ten.yaml:1:5: an id is lower case words joined by dots and dashes, such as evasion.trail-stopped
    id: Evasion_Ten
        ^
rules/ten.yaml:2:1: unknown key "tittle" (did you mean "title"?)
    tittle: Ten mistakes
    ^
rules/ten.yaml:3:11: unknown severity "hihg": want one of info, low, medium, high, critical (did you mean "high"?)
    severity: hihg
              ^
rules/ten.yaml:4:9: unknown source "cloudtrial": want one of cloudtrail, flow, config, insight, guardduty, securityhub, compliance, log (did you mean "cloudtrail"?)
    source: cloudtrial
            ^
rules/ten.yaml:5:19: actor has no field "nmae" (did you mean "name"?)
    summary: '${actor.nmae} did ${eventName'
                      ^
rules/ten.yaml:5:29: ${ is not closed
    summary: '${actor.nmae} did ${eventName'
                                ^
rules/ten.yaml:7:3: there is no "eventSorce" here (did you mean "eventSource"?)
      eventSorce == "iam.amazonaws.com" &&
      ^
rules/ten.yaml:8:16: userIdentity has no field "tpye" (did you mean "type"?)
      userIdentity.tpye == "Root" &&
                   ^
rules/ten.yaml:9:12: == does not take (bool, string)
      readOnly == "yes" &&
               ^
rules/ten.yaml:10:21: this is not a valid regular expression (the syntax is RE2's: https://github.com/google/re2/wiki/Syntax)
      eventName.matches("([")
                        ^
rules/ten.yaml:12:11: actor has no field "anr" (did you mean "arn"?)
      - actor.anr
              ^
rules/ten.yaml:13:10: "T15621" is not an ATT&CK technique: want T1234 or T1234.001
    attack: [T15621]
             ^
rules/ten.yaml:14:10: enabled: want true or false, got "maybe"
    enabled: maybe
             ^
rules/ten.yaml:16:5: test "a" does not say whether the rule fires: want fires: true or fires: false
      - name: a
        ^
rules/ten.yaml:18:5: a test wants a name
      - fires: true
        ^`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const goodRule = `id: good.rule
title: A good rule
severity: low
source: cloudtrail
when: eventName == "StopLogging" && eventSource == "cloudtrail.amazonaws.com"
`

func TestLoadProblems(t *testing.T) {
	with := func(key, value string) string {
		var out []string
		for l := range strings.Lines(goodRule) {
			if strings.HasPrefix(l, key+":") {
				l = key + ": " + value + "\n"
			}
			out = append(out, l)
		}
		return strings.Join(out, "")
	}
	for name, c := range map[string]struct {
		files   fstest.MapFS
		disable []string
		maxCost uint64
		want    []string
	}{
		"an id used twice": {
			files: fstest.MapFS{"a.yaml": file(goodRule), "b.yaml": file(goodRule)},
			want:  []string{`rules/b.yaml:1:5: rule id "good.rule" is already used at rules/a.yaml:1`},
		},
		"disabling what is not there": {
			files: fstest.MapFS{"a.yaml": file(goodRule)}, disable: []string{"good.rul"},
			want: []string{`cannot disable rule "good.rul": there is none (did you mean "good.rule"?)`},
		},
		"cost": {
			files:   fstest.MapFS{"a.yaml": file(with("when", `requestParameters.a.exists(x, x.b.exists(y, y.matches("(a|b)+$")))`))},
			maxCost: 1000, want: []string{"rules/a.yaml:5:7: it may cost ", "units (about ", "the bound is 1000"},
		},
		"the default cost bound": {
			files: fstest.MapFS{"a.yaml": file(with("when", `requestParameters.a.exists(x, x.b.exists(y, y.c.exists(z, z.matches("^(alpha|beta|gamma)+(delta|epsilon)*$"))))`))},
			want:  []string{"rules/a.yaml:5:7: it may cost ", "the bound is 2000000"},
		},
		"a list that is not there": {
			files: fstest.MapFS{"a.yaml": file(with("when", `eventName == "X" && in_list("own_acounts", recipientAccountId)`))},
			want:  []string{`rules/a.yaml:5:35: there is no list "own_acounts" (did you mean "own_accounts"?)`},
		},
		"a block that is none": {
			files: fstest.MapFS{"a.yaml": file(with("when", `eventName == "X" && in_cidr(sourceIPAddress, ["10.0.0.0/8", "10.0.0.0/33"])`))},
			want:  []string{`rules/a.yaml:5:67: "10.0.0.0/33" is not a CIDR block`},
		},
		"one equals sign": {
			files: fstest.MapFS{"a.yaml": file(with("when", `eventName = "X"`))},
			want:  []string{`rules/a.yaml:5:17: = means nothing here (equality is ==)`},
		},
		"another language": {
			files: fstest.MapFS{"a.yaml": file(with("when", `eventName == "X" and readOnly`))},
			want:  []string{`and is not expected here (write &&)`},
		},
		"null": {
			files: fstest.MapFS{"a.yaml": file(with("when", `errorCode == null`))},
			want:  []string{`== does not take (string, null) (a field that is absent is ""`},
		},
		"not a condition": {
			files: fstest.MapFS{"a.yaml": file(with("when", `eventName`))},
			want:  []string{`rules/a.yaml:5:7: this yields string, want bool`},
		},
		"no rule at all":   {files: fstest.MapFS{"a.txt": file("x")}, want: []string{"no .yaml file with a rule in rules"}},
		"an empty file":    {files: fstest.MapFS{"a.yaml": file("# nothing\n")}, want: []string{"rules/a.yaml: the file is empty"}},
		"not even YAML":    {files: fstest.MapFS{"a.yaml": file("id: a\n  b: c\n")}, want: []string{"rules/a.yaml:2:1: not valid YAML"}},
		"two documents":    {files: fstest.MapFS{"a.yaml": file(goodRule + "---\n" + goodRule)}, want: []string{"rules/a.yaml:6:1: a second YAML document begins here"}},
		"a key twice":      {files: fstest.MapFS{"a.yaml": file(goodRule + "id: x\n")}, want: []string{`rules/a.yaml:6:1: key "id" is given twice, first on line 1`}},
		"a list of rules":  {files: fstest.MapFS{"a.yaml": file("- " + strings.ReplaceAll(goodRule, "\n", "\n  "))}, want: []string{"rules/a.yaml:1:1: want keys and values, got a list"}},
		"both files' sins": {files: fstest.MapFS{"a.yaml": file(with("severity", "x")), "b/b.yml": file(with("source", "x"))}, want: []string{"rules/a.yaml:3:11", "rules/b/b.yml:4:9"}},
	} {
		rs, err := detect.LoadAll([]detect.Folder{{Name: "rules", FS: c.files}}, detect.Options{Lists: lists(t), Disable: c.disable, MaxCost: c.maxCost})
		if name == "a list of rules" && strings.Count(err.Error(), "rules/a.yaml") != 1 {
			t.Errorf("%s: more is said than that: %v", name, err)
		}
		if err == nil || rs != nil {
			t.Errorf("%s: it loads", name)
			continue
		}
		var list problem.List
		if !errors.As(err, &list) {
			t.Errorf("%s: the error is a %T", name, err)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s:\n%v\nwant %s", name, err, w)
			}
		}
	}
}

// TestUnknownNamesWarn: a name that AWS does not have is probably a slip, but
// the shipped list ages, so the rule loads.
func TestUnknownNamesWarn(t *testing.T) {
	rule := strings.Replace(goodRule, `"StopLogging"`, `"StopLoging"`, 1)
	rule2 := strings.ReplaceAll(strings.Replace(goodRule, "cloudtrail.amazonaws.com", "cloudtrial.amazonaws.com", 1), "good.rule", "good.other")
	rs, err := detect.LoadAll([]detect.Folder{{Name: "rules", FS: fstest.MapFS{"a.yaml": file(rule), "b.yaml": file(rule2)}}}, detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := `rules/a.yaml:5:20: warning: cloudtrail.amazonaws.com, as known here, has no action "StopLoging" (did you mean "StopLogging"?)
    when: eventName == "StopLoging" && eventSource == "cloudtrail.amazonaws.com"
                       ^
rules/b.yaml:5:52: warning: no AWS service that is known here has the source "cloudtrial.amazonaws.com" (did you mean "cloudtrail"?)
    when: eventName == "StopLogging" && eventSource == "cloudtrial.amazonaws.com"
                                                       ^`
	if diff := cmp.Diff(want, rs.Warnings().Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(rs.Rules()) != 2 {
		t.Errorf("%d rules", len(rs.Rules()))
	}
}

func TestDisabledRulesAreCheckedAndLeftOut(t *testing.T) {
	off := strings.ReplaceAll(goodRule, "good.rule", "good.off") + "enabled: false\n"
	other := strings.ReplaceAll(goodRule, "good.rule", "good.other")
	rs, err := detect.Load(fstest.MapFS{"a.yaml": file(goodRule), "b.yaml": file(off), "c.yaml": file(other)}, detect.Options{Disable: []string{"good.other"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(rs.Rules()) != 1 || rs.Rules()[0].ID != "good.rule" || rs.Rule("good.off") != nil || rs.Rule("good.other") != nil {
		t.Errorf("%v", rs.Rules())
	}
	if _, err := detect.Load(fstest.MapFS{"b.yaml": file(strings.Replace(off, "eventName ==", "eventNam ==", 1))}, detect.Options{}); err == nil {
		t.Error("the mistake of a rule that is not enabled goes unseen")
	}
}
