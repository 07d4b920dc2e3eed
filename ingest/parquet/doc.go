// Package parquet reads flat tables from Apache Parquet files that somebody else
// made, and does not trust them: what a header claims is checked before anything is
// allocated for it, so that memory is bounded by the limits below and not by the
// file. It knows what a table of flow logs needs: columns that are required or
// optional, not nested, every encoding but BYTE_STREAM_SPLIT, data pages of both
// versions, uncompressed or compressed with Snappy, gzip or Zstandard. The format is that of
// https://github.com/apache/parquet-format, whose names are used here.
package parquet

import "fmt"

// Limits. AWS writes files of 75 MB at most; pages are of 1 MB by default.
const (
	maxFooter     = 4 << 20   // bytes
	maxNodes      = 200_000   // values in a footer
	maxDepth      = 20        // of its structures
	maxColumns    = 200       // leaves of the schema
	maxPageHeader = 1 << 20   // bytes
	maxPage       = 16 << 20  // bytes, compressed and not
	maxDictionary = 1 << 20   // entries
	maxCell       = 64 << 10  // bytes of one value
	maxHeld       = 256 << 20 // bytes in all columns together
)

// FormatError says that a file is not Parquet, or not of a kind that is read.
type FormatError struct{ Reason string }

// Error implements error.
func (e *FormatError) Error() string { return "Parquet: " + e.Reason }

func bad(format string, args ...any) error { return &FormatError{fmt.Errorf(format, args...).Error()} }
