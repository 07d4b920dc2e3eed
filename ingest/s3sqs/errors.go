package s3sqs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
)

// code is AWS's name for an error, "" for one that is not AWS's.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// denied reports whether somebody has to give a permission before the same call
// can succeed.
func denied(err error) bool {
	return slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "UnauthorizedOperation", "KMSAccessDeniedException", "KmsAccessDenied",
		"InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException",
		"KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException",
	}, code(err))
}

// missing reports whether there is no such object.
func missing(err error) bool {
	return slices.Contains([]string{"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "NotFound", "MethodNotAllowed"}, code(err))
}

// lost reports whether a message is no longer ours to hide: somebody else has it,
// or it is gone.
func lost(code string) bool {
	return slices.Contains([]string{"MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "ReceiptHandleIsInvalid"}, code)
}

// explain says which permission is missing, where that is what is wrong.
func (s *Source) explain(err error, action, resource string) error {
	switch {
	case !denied(err):
		return err
	case assuming(err):
		return fmt.Errorf("the role %s cannot be assumed: allow sts:AssumeRole on it, and trust riposte's identity (and s3.external_id) in its trust policy: %w", s.cfg.Role, err)
	}
	return fmt.Errorf("%s is not allowed: allow it on %s, see deploy/iam/s3sqs.json: %w", action, resource, err)
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
	case assuming(err):
		return fmt.Errorf("read %s: %w", o, s.explain(err, action, ""))
	case strings.Contains(text, "kms:Decrypt") || strings.HasPrefix(code(err), "KMS"):
		key := keyARN.FindString(text)
		if key == "" {
			key = "the key that the object is encrypted with"
		}
		return fmt.Errorf("read %s: kms:Decrypt is not possible: allow it on %s in the role's policy and in the key's own, and see that the key is enabled: %w", o, key, err)
	}
	return fmt.Errorf("read %s: %s is not allowed: allow it on arn:aws:s3:::%s/*, see deploy/iam/s3sqs.json; where s3:ListBucket is not allowed, S3 says the same of an object that is gone: %w", o, action, o.Bucket, err)
}

// assuming reports whether an error came from assuming a role.
func assuming(err error) bool {
	var op *smithy.OperationError
	for errors.As(err, &op) {
		if op.Service() == "STS" {
			return true
		}
		err = op.Unwrap()
	}
	return false
}
