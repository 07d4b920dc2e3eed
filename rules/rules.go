// Package rules holds the detection rules that ship with the program: YAML, one
// rule a file, each with its tests inside, sorted by what an attacker is after.
//
//	identity      who signs in, and with what
//	evasion       logging, detectors and guardrails switched off
//	exfiltration  data opened, shared or copied to the outside
//	network       doors opened
//	compute       other people's machines, and code on ours
//	secrets       what opens other things
//	persistence   ways to come back
//	impact        data and accounts destroyed, services abused
//	posture       AWS Config items in a state that invites the above
//	flow          VPC flow log records
//	detectors     what AWS's own detectors found: GuardDuty, Security Hub, Insights, Config rules
//	logs          GitHub, Okta, Kubernetes, Vault, Suricata
//
// A rule's id is its folder and file name: evasion/trail-stopped.yaml is
// evasion.trail-stopped. Adding a rule is adding a file.
package rules

import "embed"

// FS holds the rule files as <category>/<name>.yaml.
//
//go:embed */*.yaml
var FS embed.FS
