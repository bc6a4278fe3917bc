package transport

import "fmt"

// PermissionError says which capability (capabilities(7)) a transport would
// have needed and how it can be granted. It wraps the system call's error, so
// that errors.Is(err, fs.ErrPermission) holds.
type PermissionError struct {
	Capability string // CAP_NET_RAW, for instance; "" if none would do
	Advice     string // how to grant it, or what to use instead
	Err        error
}

// Error gives the cause, the capability if there is one, and the advice.
func (e *PermissionError) Error() string {
	if e.Capability == "" {
		return fmt.Sprintf("%v: %s", e.Err, e.Advice)
	}
	return fmt.Sprintf("%v: it needs %s; %s", e.Err, e.Capability, e.Advice)
}

// Unwrap returns the system call's error.
func (e *PermissionError) Unwrap() error { return e.Err }
