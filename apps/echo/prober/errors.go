package prober

import "github.com/hashicorp/go-multierror"

// join returns nothing for no error, one error as itself, and several as a
// *multierror.Error.
func join(errs ...error) error {
	var all *multierror.Error
	for _, err := range errs {
		if err != nil {
			all = multierror.Append(all, err)
		}
	}
	if all != nil && len(all.Errors) == 1 {
		return all.Errors[0]
	}
	return all.ErrorOrNil()
}
