# riposte: two targets set everything up on a fresh machine with Go and make:
#   make demo    the main job on recorded attacks, in dry run
#   make test    every test; installs what the tests need

GO ?= go
BIN := bin/riposte

.PHONY: help build demo test race lint fuzz bench soak install-browser docs clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 20

build: ## Build bin/riposte
	$(GO) build -o $(BIN) ./cmd/riposte

demo: build ## Play recorded attacks through the whole pipeline (ARGS=--once to the end)
	./$(BIN) demo $(ARGS)

test: install-browser ## Run every test
	RIPOSTE_BROWSER=required $(GO) test -timeout 40m ./...

race: ## Run the tests that share memory under the race detector (wants a C compiler)
	$(GO) test -race -short -timeout 30m ./internal/bus/... ./internal/store/... ./internal/telemetry ./respond/... ./detect ./ingest/s3sqs ./ingest/archive ./ingest/receiver ./ingest/kinesis ./ingest/accounts ./ingest/cloudtrail/lookup ./console

lint: ## gofmt, go vet, staticcheck, and govulncheck where its database can be reached
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'not formatted: run gofmt -w .'; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@./scripts/govulncheck

FUZZTIME ?= 2m
fuzz: ## Fuzz every decoder, FUZZTIME each (default 2m)
	./scripts/fuzz $(FUZZTIME)

bench: build ## Print the performance figures with their floors
	$(GO) run ./internal/bench -riposte $(BIN) $(ARGS)

soak: ## Kill the real program 200 times while 200,000 records come from S3, and print what became of them
	RIPOSTE_SOAK=200 $(GO) test ./cmd/riposte -run '^TestKilledS3$$' -v -timeout 60m

install-browser:
	@./scripts/install-browser

docs: build ## Write the references that the code knows: rules, playbooks, command line
	./scripts/docs

clean: ## Remove what was built and measured
	rm -rf bin .cache
