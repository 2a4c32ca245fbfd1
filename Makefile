# CI=true makes tests fail where a real part is missing, instead of skipping.

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: build test parts proof soak screenshots lint fuzz fmt cover clean

# build makes ./curfew, one file without cgo.
build:
	CGO_ENABLED=0 go build -trimpath ./cmd/curfew

# test installs the real parts that the tests speak to, where it can.
test: parts
	go test -race -timeout 14m ./...

parts:
	@.ci/parts

# proof holds the promises of docs/guarantees.md under faults for a while:
# make proof FOR=10m SEED=7; without a seed each run has dice of its own.
FOR ?= 2m
SEED ?= 0
proof: parts
	go test ./cmd/curfew/proof -run TestPromises -timeout 0 -v -for $(FOR) -seed $(SEED)

# soak does so for an hour and writes docs/soak.md.
soak: parts
	go test ./cmd/curfew/proof -run TestPromises -timeout 0 -v -for 1h -report $(CURDIR)/docs/soak.md

# screenshots takes a picture of every page, light and dark, wide and narrow.
screenshots: parts
	go test ./cmd/curfew -run TestPictures -count 1 -pictures $(CURDIR)/docs/screenshots

lint:
	go vet ./...
	go run $(GOLANGCI) run ./...

# fuzz runs each fuzz target for a while: make fuzz FUZZTIME=5m
fuzz:
	.ci/fuzz

fmt:
	go run $(GOLANGCI) fmt ./...

cover: parts
	go test -coverprofile=coverage.out -coverpkg=./... ./...
	go tool cover -func=coverage.out | tail -n 1

clean:
	rm -f curfew coverage.out
