package kinds

// Verbs are what may be done with objects of the kind, in the words of discovery and of authorization.
func (k *Kind) Verbs() []string {
	return []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
}

// Verbs are what may be done with the subresource. A patch needs something to change, so there is none without Get.
func (s Subresource) Verbs() []string {
	verbs := []string{}
	if s.Create != nil {
		verbs = append(verbs, "create")
	}
	if s.Get != nil || s.Connect {
		verbs = append(verbs, "get")
	}
	if s.Get != nil && s.Update != nil {
		verbs = append(verbs, "patch")
	}
	if s.Update != nil {
		verbs = append(verbs, "update")
	}
	return verbs
}
