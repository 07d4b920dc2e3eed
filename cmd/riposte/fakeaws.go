package main

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"riposte/internal/awsaccess"
	"riposte/internal/awsfake"
	"riposte/respond/aws"
)

// fakeClients reach an AWS endpoint inside this process, whatever the machine's
// own AWS configuration says.
func fakeClients(ctx context.Context, fake *awsfake.Server) (*aws.Clients, error) {
	// A profile that the user has set would be looked for, and there are no files.
	if err := os.Unsetenv("AWS_PROFILE"); err != nil {
		return nil, err
	}
	return aws.NewClients(ctx, aws.Config{Config: awsaccess.Config{Role: "arn:aws:iam::{account}:role/riposte"}}, fake.Dial,
		config.WithBaseEndpoint(fake.URL()),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIAFAKE", "fake", "")),
		config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
	)
}
