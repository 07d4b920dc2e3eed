// Package aws_test reads the Terraform module as HCL, since the provider that could
// validate it is not at hand where the tests run: every reference resolves, every
// resource and attribute is one that the provider has, and the policies are those
// of deploy/iam.
package aws_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// schema is what the resources and data of hashicorp/aws 5.40 and later have, as far
// as the module uses them: attributes, and blocks with their own.
var schema = map[string]string{
	"aws_sqs_queue":                            "name message_retention_seconds receive_wait_time_seconds visibility_timeout_seconds sqs_managed_sse_enabled redrive_policy tags",
	"aws_sqs_queue_policy":                     "queue_url policy",
	"aws_sqs_queue_redrive_allow_policy":       "queue_url redrive_allow_policy",
	"aws_s3_bucket":                            "bucket tags",
	"aws_s3_bucket_versioning":                 "bucket versioning_configuration{status}",
	"aws_s3_bucket_public_access_block":        "bucket block_public_acls block_public_policy ignore_public_acls restrict_public_buckets",
	"aws_s3_bucket_policy":                     "bucket policy",
	"aws_s3_bucket_notification":               "bucket eventbridge queue{queue_arn events filter_prefix}",
	"aws_sns_topic_subscription":               "topic_arn protocol endpoint raw_message_delivery",
	"aws_cloudwatch_event_rule":                "name description event_pattern tags",
	"aws_cloudwatch_event_target":              "rule arn role_arn retry_policy{maximum_event_age_in_seconds maximum_retry_attempts} dead_letter_config{arn}",
	"aws_cloudwatch_event_connection":          "name description authorization_type auth_parameters{api_key{key value}}",
	"aws_cloudwatch_event_api_destination":     "name description invocation_endpoint http_method invocation_rate_limit_per_second connection_arn",
	"aws_iam_role":                             "name description assume_role_policy tags",
	"aws_iam_role_policy":                      "name role policy",
	"aws_iam_service_linked_role":              "aws_service_name",
	"aws_cloudtrail":                           "name s3_bucket_name kms_key_id is_multi_region_trail include_global_service_events enable_log_file_validation is_organization_trail tags",
	"aws_flow_log":                             "vpc_id traffic_type log_destination_type log_destination log_format max_aggregation_interval tags destination_options{file_format hive_compatible_partitions per_hour_partition}",
	"aws_config_configuration_recorder":        "name role_arn recording_group{all_supported include_global_resource_types}",
	"aws_config_delivery_channel":              "name s3_bucket_name snapshot_delivery_properties{delivery_frequency}",
	"aws_config_configuration_recorder_status": "name is_enabled",
	"data aws_caller_identity":                 "", "data aws_region": "", "data aws_partition": "",
	"data aws_iam_policy_document": "statement{sid effect actions resources principals{type identifiers} condition{test variable values}}",
}

// exported are the attributes that the module reads of what it made.
var exported = map[string]string{
	"aws_sqs_queue": "arn id url", "aws_s3_bucket": "id", "aws_iam_role": "arn id", "aws_cloudwatch_event_rule": "arn name",
	"aws_cloudwatch_event_connection": "arn", "aws_cloudwatch_event_api_destination": "arn", "aws_iam_service_linked_role": "arn",
	"aws_config_configuration_recorder": "name", "data aws_iam_policy_document": "json", "data aws_caller_identity": "account_id",
	"data aws_region": "name", "data aws_partition": "partition",
}

// meta are the arguments and blocks that Terraform itself gives every resource.
var meta = []string{"count", "for_each", "depends_on", "provider", "lifecycle", "dynamic"}

// shape is a schema's line taken apart.
type shape struct {
	attributes map[string]bool
	blocks     map[string]shape
}

func parse(words string) shape {
	s, rest := take(strings.NewReplacer("{", " { ", "}", " } ").Replace(words))
	if strings.TrimSpace(rest) != "" {
		panic(words)
	}
	return s
}

func take(words string) (shape, string) {
	s := shape{map[string]bool{}, map[string]shape{}}
	fields := strings.Fields(words)
	for len(fields) > 0 && fields[0] != "}" {
		name := fields[0]
		if fields = fields[1:]; len(fields) > 0 && fields[0] == "{" {
			inner, rest := take(strings.Join(fields[1:], " "))
			s.blocks[name] = inner
			fields = strings.Fields(rest)[1:]
			continue
		}
		s.attributes[name] = true
	}
	return s, strings.Join(fields, " ")
}

// module is a folder of .tf files.
type module struct {
	t        *testing.T
	dir      string
	blocks   []*hclsyntax.Block
	declared map[string]bool // var.x, local.x, aws_x.y, data.aws_x.y, module.x
	used     map[string]bool
}

func load(t *testing.T, dir string) *module {
	t.Helper()
	m := &module{t: t, dir: dir, declared: map[string]bool{}, used: map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files: %v", dir, err)
	}
	p := hclparse.NewParser()
	for _, name := range files {
		f, diags := p.ParseHCLFile(name)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		m.blocks = append(m.blocks, f.Body.(*hclsyntax.Body).Blocks...)
	}
	for _, b := range m.blocks {
		switch b.Type {
		case "variable":
			m.declare("var." + b.Labels[0])
		case "resource":
			m.declare(b.Labels[0] + "." + b.Labels[1])
		case "data", "module":
			m.declare(strings.Join(append([]string{b.Type}, b.Labels...), "."))
		case "locals":
			for name := range b.Body.Attributes {
				m.declare("local." + name)
			}
		}
	}
	return m
}

func (m *module) declare(name string) {
	if m.declared[name] {
		m.t.Errorf("%s: %s is declared twice", m.dir, name)
	}
	m.declared[name] = true
}

// each visits every block below one, with the names that it may speak of.
func each(b *hclsyntax.Block, names []string, visit func(b *hclsyntax.Block, names []string)) {
	if b.Type == "dynamic" {
		names = append(slices.Clone(names), b.Labels[0])
	}
	visit(b, names)
	for _, inner := range b.Body.Blocks {
		each(inner, names, visit)
	}
}

// references checks what the expressions of the module speak of.
func (m *module) references() {
	for _, top := range m.blocks {
		own := []string{"each", "count", "path"}
		if top.Type == "variable" {
			own = append(own, "string", "number", "bool", "list", "set", "map", "object")
		}
		each(top, own, func(b *hclsyntax.Block, names []string) {
			for _, a := range b.Body.Attributes {
				if b.Type == "terraform" || b.Type == "required_providers" {
					continue
				}
				for _, v := range a.Expr.Variables() {
					m.reference(v, names)
				}
			}
		})
	}
}

func (m *module) reference(v hcl.Traversal, names []string) {
	root := v.RootName()
	if slices.Contains(names, root) {
		return
	}
	var path []string
	for _, step := range v[1:] {
		if a, ok := step.(hcl.TraverseAttr); ok {
			path = append(path, a.Name)
		}
	}
	n := 1
	if root == "data" {
		n = 2
	}
	if len(path) < n {
		m.t.Errorf("%s: %s is no reference", v.SourceRange(), root)
		return
	}
	name := strings.Join(append([]string{root}, path[:n]...), ".")
	if !m.declared[name] {
		m.t.Errorf("%s: %s is not declared", v.SourceRange(), name)
	}
	m.used[name] = true
	kind := root
	if root == "data" {
		kind = "data " + path[0]
	}
	if !strings.Contains(kind, "aws_") || len(path) == n {
		return
	}
	if !slices.Contains(strings.Fields(exported[kind]), path[n]) {
		m.t.Errorf("%s: %s has no attribute %s that is known", v.SourceRange(), kind, path[n])
	}
}

// shapes checks arguments and blocks against the schema.
func (m *module) shapes() {
	for _, b := range m.blocks {
		kind := ""
		switch b.Type {
		case "resource":
			kind = b.Labels[0]
		case "data":
			kind = "data " + b.Labels[0]
		default:
			continue
		}
		words, ok := schema[kind]
		if !ok {
			m.t.Errorf("%s: %s is not in the schema of this test", b.Range(), kind)
			continue
		}
		m.shape(b.Body, parse(words), kind, true)
	}
}

func (m *module) shape(body *hclsyntax.Body, s shape, kind string, top bool) {
	for name, a := range body.Attributes {
		if !s.attributes[name] && !(top && slices.Contains(meta, name)) {
			m.t.Errorf("%s: %s has no argument %s", a.Range(), kind, name)
		}
	}
	for _, b := range body.Blocks {
		name, inner := b.Type, b.Body
		if name == "dynamic" {
			name, inner = b.Labels[0], b.Body.Blocks[0].Body
		} else if top && slices.Contains(meta, name) {
			continue
		}
		next, ok := s.blocks[name]
		if !ok {
			m.t.Errorf("%s: %s has no block %s", b.Range(), kind, name)
			continue
		}
		m.shape(inner, next, kind+"."+name, false)
	}
}

// TestModule: references resolve, nothing is unused, resources have the arguments
// that they are given, and all that a user sees is explained.
func TestModule(t *testing.T) {
	m := load(t, ".")
	m.references()
	m.shapes()
	for name := range maps.Keys(m.declared) {
		if (strings.HasPrefix(name, "var.") || strings.HasPrefix(name, "local.") || strings.HasPrefix(name, "data.")) && !m.used[name] {
			t.Errorf("%s is not used", name)
		}
	}
	for _, b := range m.blocks {
		for _, want := range map[string][]string{"variable": {"description", "type"}, "output": {"description", "value"}}[b.Type] {
			if b.Body.Attributes[want] == nil {
				t.Errorf("%s %s has no %s", b.Type, b.Labels[0], want)
			}
		}
	}
	if !testing.Verbose() {
		return
	}
	t.Logf("%d blocks, %d names", len(m.blocks), len(m.declared))
}

// TestExamples: they give the module what it knows and wants.
func TestExamples(t *testing.T) {
	variables, wanted := map[string]bool{}, map[string]bool{}
	outputs := map[string]bool{}
	for _, b := range load(t, ".").blocks {
		switch b.Type {
		case "variable":
			variables[b.Labels[0]], wanted[b.Labels[0]] = true, b.Body.Attributes["default"] == nil
		case "output":
			outputs[b.Labels[0]] = true
		}
	}
	dirs, err := filepath.Glob("examples/*")
	if err != nil || len(dirs) < 2 {
		t.Fatalf("%v %v", dirs, err)
	}
	for _, dir := range dirs {
		m := load(t, dir)
		m.references()
		for _, b := range m.blocks {
			if b.Type != "module" {
				continue
			}
			for name, want := range wanted {
				if want && b.Body.Attributes[name] == nil {
					t.Errorf("%s does not give %s", dir, name)
				}
			}
			for name := range b.Body.Attributes {
				if name != "source" && !variables[name] {
					t.Errorf("%s gives %s, which the module does not know", dir, name)
				}
			}
		}
	}
	if !outputs["riposte_yaml"] {
		t.Error("no output is the configuration")
	}
}

// texts are the constant texts of a list.
func texts(e hclsyntax.Expression) []string {
	var out []string
	if tuple, ok := e.(*hclsyntax.TupleConsExpr); ok {
		for _, item := range tuple.Exprs {
			if v, diags := item.Value(nil); !diags.HasErrors() {
				out = append(out, v.AsString())
			}
		}
	}
	slices.Sort(out)
	return out
}

// statements are those of a policy document, by Sid.
func (m *module) statements(name string) map[string]*hclsyntax.Body {
	out := map[string]*hclsyntax.Body{}
	for _, b := range m.blocks {
		if b.Type != "data" || b.Labels[0] != "aws_iam_policy_document" || b.Labels[1] != name {
			continue
		}
		for i, s := range b.Body.Blocks {
			body := s.Body
			if s.Type == "dynamic" {
				body = s.Body.Blocks[0].Body
			}
			sid := fmt.Sprint(i)
			if a := body.Attributes["sid"]; a != nil {
				if v, diags := a.Expr.Value(nil); !diags.HasErrors() {
					sid = v.AsString()
				}
			}
			out[sid] = body
		}
	}
	return out
}

// TestPolicies: the role's statements are those of deploy/iam, action by action,
// which the sources' tests hold against what they call; and none is wide.
func TestPolicies(t *testing.T) {
	m := load(t, ".")
	for document, file := range map[string]string{"s3sqs": "s3sqs.json", "trail": "trail.json", "eventbridge": "eventbridge.json"} {
		data, err := os.ReadFile("../../iam/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Statement []struct {
				Sid    string
				Action any
			}
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		have := m.statements(document)
		if len(have) != len(doc.Statement) {
			t.Errorf("%s has %d statements, %s %d", document, len(have), file, len(doc.Statement))
		}
		for _, s := range doc.Statement {
			var want []string
			switch a := s.Action.(type) {
			case string:
				want = []string{a}
			case []any:
				for _, v := range a {
					want = append(want, v.(string))
				}
			}
			slices.Sort(want)
			body := have[s.Sid]
			if body == nil {
				t.Errorf("%s has no statement %s", document, s.Sid)
				continue
			}
			if got := texts(body.Attributes["actions"].Expr); !slices.Equal(got, want) {
				t.Errorf("%s %s allows %v, %s %v", document, s.Sid, got, file, want)
			}
		}
	}
	for _, b := range m.blocks {
		if b.Type != "data" || b.Labels[0] != "aws_iam_policy_document" {
			continue
		}
		for sid, body := range m.statements(b.Labels[1]) {
			if e := body.Attributes["effect"]; e != nil {
				continue // Deny may be wide
			}
			for _, a := range texts(body.Attributes["actions"].Expr) {
				if strings.Contains(a, "*") {
					t.Errorf("%s %s allows %s", b.Labels[1], sid, a)
				}
			}
			if r := body.Attributes["resources"]; r != nil && slices.Contains(texts(r.Expr), "*") && sid != "KeysOfDigests" {
				t.Errorf("%s %s allows on *", b.Labels[1], sid)
			}
			for _, p := range body.Blocks {
				if a := p.Body.Attributes["identifiers"]; p.Type == "principals" && a != nil && slices.Contains(texts(a.Expr), "*") {
					t.Errorf("%s %s allows anybody", b.Labels[1], sid)
				}
			}
		}
	}
}

// TestTerraform: the files are formatted, and where the provider can be had the
// module and its examples are valid.
func TestTerraform(t *testing.T) {
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("there is no terraform here")
	}
	if out, err := exec.Command(program, "fmt", "-check", "-recursive", "-diff", ".").Output(); err != nil {
		t.Errorf("terraform fmt: %v\n%s", err, out)
	}
	if os.Getenv("RIPOSTE_TERRAFORM_VALIDATE") == "" {
		t.Skip("validating wants the provider hashicorp/aws from its registry: set RIPOSTE_TERRAFORM_VALIDATE=1 where it can be reached")
	}
	copied := t.TempDir() // init writes a lock file
	if err := os.CopyFS(copied, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", "examples/single-account", "examples/organization"} {
		for _, args := range [][]string{{"init", "-backend=false", "-input=false"}, {"validate"}} {
			cmd := exec.Command(program, append([]string{"-chdir=" + filepath.Join(copied, dir)}, args...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: terraform %s: %v\n%s", dir, args[0], err, out)
			}
		}
	}
}
