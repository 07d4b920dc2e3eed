package s3sqs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"riposte/internal/awsaccess"
)

// policyFile is the file of the permissions that this source wants.
const policyFile = "deploy/iam/s3sqs.json"

// missing reports whether there is no such object.
func missing(err error) bool {
	return awsaccess.Is(err, "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "NotFound", "MethodNotAllowed")
}

// lost reports whether a message is no longer ours to hide: somebody else has it,
// or it is gone.
func lost(code string) bool {
	return slices.Contains([]string{"MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "ReceiptHandleIsInvalid"}, code)
}

// explain says which permission is missing, where that is what is wrong.
func (s *Source) explain(err error, action, resource string) error {
	return s.access.Explain(err, action, resource, policyFile)
}

// keyARN finds the key in KMS's refusal.
var keyARN = regexp.MustCompile(`arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+`)

// explainObject is explain for an object, which may be refused by its key, or
// only seem to be refused.
func (s *Source) explainObject(err error, o Object) error {
	action := "s3:GetObject"
	if o.Version != "" {
		action = "s3:GetObjectVersion"
	}
	text := err.Error()
	switch {
	case awsaccess.Assuming(err):
		return fmt.Errorf("read %s: %w", o, s.explain(err, action, ""))
	case strings.Contains(text, "kms:Decrypt") || strings.HasPrefix(awsaccess.Code(err), "KMS"):
		key := keyARN.FindString(text)
		if key == "" {
			key = "the key that the object is encrypted with"
		}
		return fmt.Errorf("read %s: kms:Decrypt is not possible: allow it on %s in the role's policy and in the key's own, and see that the key is enabled: %w", o, key, err)
	}
	return fmt.Errorf("read %s: %s is not allowed: allow it on arn:aws:s3:::%s/*, see %s; where s3:ListBucket is not allowed, S3 says the same of an object that is gone: %w", o, action, o.Bucket, policyFile, err)
}
