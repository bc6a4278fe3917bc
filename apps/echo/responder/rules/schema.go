package rules

import _ "embed"

// Schema is the JSON schema (draft 2020-12) of a rules file, for editors and checks.
// What it refuses, [Parse] refuses; it cannot see all that Parse refuses besides: what
// contradicts itself, prefixes with bits set after their length, names of ICMP errors,
// and what is wrong in texts that stand for mappings.
//
//go:embed schema.json
var Schema string
