package kinds

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds/podspec"
)

func validateLimitRange(obj fsm.Value) field.ErrorList {
	var errs field.ErrorList
	limits, seen := obj.(*corev1.LimitRange).Spec.Limits, sets.New[corev1.LimitType]()
	for i := range limits {
		path, kind := field.NewPath("spec", "limits").Index(i), limits[i].Type
		errs = append(errs, validateLimitType(kind, path.Child("type"))...)
		if seen.Has(kind) {
			errs = append(errs, field.Duplicate(path.Child("type"), kind))
		}
		seen.Insert(kind)
		errs = append(errs, validateLimits(&limits[i], path)...)
	}
	return errs
}

func validateLimitType(kind corev1.LimitType, path *field.Path) field.ErrorList {
	if errs := invalid(path, kind, qualifiedName(kind)); len(errs) > 0 {
		return errs
	}
	switch kind {
	case corev1.LimitTypePod, corev1.LimitTypeContainer, corev1.LimitTypePersistentVolumeClaim:
		return nil
	}
	if strings.Contains(string(kind), "/") {
		return nil
	}
	return field.ErrorList{field.Invalid(path, kind, "must be a standard limit type or fully qualified")}
}

func validateLimits(item *corev1.LimitRangeItem, path *field.Path) field.ErrorList {
	named := validateLimitRangeResource(item.Type)
	errs := named(item.Max, path.Child("max"))
	errs = append(errs, named(item.Min, path.Child("min"))...)
	lists := []corev1.ResourceList{item.Max, item.Min, item.MaxLimitRequestRatio}
	if item.Type == corev1.LimitTypePod {
		errs = append(errs, forbidDefaults(item, path)...)
	} else {
		errs = append(errs, named(item.Default, path.Child("default"))...)
		errs = append(errs, named(item.DefaultRequest, path.Child("defaultRequest"))...)
		lists = append(lists, item.Default, item.DefaultRequest)
	}
	_, atLeast := item.Min[corev1.ResourceStorage]
	_, atMost := item.Max[corev1.ResourceStorage]
	if item.Type == corev1.LimitTypePersistentVolumeClaim && !atLeast && !atMost {
		errs = append(errs, field.Required(path.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
	}
	errs = append(errs, named(item.MaxLimitRequestRatio, path.Child("maxLimitRequestRatio"))...)
	names := sets.New[corev1.ResourceName]()
	for _, list := range lists {
		names.Insert(sortedKeys(list)...)
	}
	for _, name := range sets.List(names) {
		errs = append(errs, limitsOf(item, name).validate(path)...)
	}
	return errs
}

// validateLimitRangeResource returns how the names of resources are checked: pods and containers have fewer of them.
func validateLimitRangeResource(kind corev1.LimitType) func(corev1.ResourceList, *field.Path) field.ErrorList {
	check := validateAnyResource
	if kind == corev1.LimitTypePod || kind == corev1.LimitTypeContainer {
		check = podspec.ValidateResourceName
	}
	return func(list corev1.ResourceList, path *field.Path) field.ErrorList {
		var errs field.ErrorList
		for _, name := range sortedKeys(list) {
			errs = append(errs, check(name, path.Key(string(name)))...)
		}
		return errs
	}
}

func forbidDefaults(item *corev1.LimitRangeItem, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(item.Default) > 0 {
		errs = append(errs, field.Forbidden(path.Child("default"), "may not be specified when `type` is 'Pod'"))
	}
	if len(item.DefaultRequest) > 0 {
		errs = append(errs, field.Forbidden(path.Child("defaultRequest"), "may not be specified when `type` is 'Pod'"))
	}
	return errs
}

// bounds are what is said of one resource; nil for what is not.
type bounds struct {
	name                              corev1.ResourceName
	least, most, usual, wanted, ratio *resource.Quantity
}

func limitsOf(item *corev1.LimitRangeItem, name corev1.ResourceName) bounds {
	of := func(list corev1.ResourceList) *resource.Quantity {
		if q, found := list[name]; found {
			return &q
		}
		return nil
	}
	b := bounds{name: name, least: of(item.Min), most: of(item.Max), ratio: of(item.MaxLimitRequestRatio)}
	if item.Type != corev1.LimitTypePod {
		b.usual, b.wanted = of(item.Default), of(item.DefaultRequest)
	}
	return b
}

func above(a, b *resource.Quantity) bool { return a != nil && b != nil && a.Cmp(*b) > 0 }

// validate wants least <= wanted <= usual <= most.
func (b bounds) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, rule := range []struct {
		low, high *resource.Quantity
		field     string
		value     *resource.Quantity
		message   string
	}{
		{b.least, b.most, "min", b.least, "min value %s is greater than max value %s"},
		{b.least, b.wanted, "defaultRequest", b.wanted, "min value %s is greater than default request value %s"},
		{b.wanted, b.most, "defaultRequest", b.wanted, "default request value %s is greater than max value %s"},
		{b.wanted, b.usual, "defaultRequest", b.wanted, "default request value %s is greater than default limit value %s"},
		{b.least, b.usual, "default", b.least, "min value %s is greater than default value %s"},
		{b.usual, b.most, "default", b.most, "default value %s is greater than max value %s"},
	} {
		if above(rule.low, rule.high) {
			errs = append(errs, field.Invalid(path.Child(rule.field).Key(string(b.name)), rule.value.String(),
				fmt.Sprintf(rule.message, rule.low, rule.high)))
		}
	}
	errs = append(errs, b.validateRatio(path.Child("maxLimitRequestRatio").Key(string(b.name)))...)
	if !podspec.Overcommits(b.name) && b.usual != nil && b.wanted != nil && b.usual.Cmp(*b.wanted) != 0 {
		errs = append(errs, field.Invalid(path.Child("defaultRequest").Key(string(b.name)), b.wanted.String(),
			fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", b.usual, b.wanted, b.name)))
	}
	return errs
}

// validateRatio refuses a ratio of limit to request that no request between least and most can have.
func (b bounds) validateRatio(path *field.Path) field.ErrorList {
	if b.ratio == nil {
		return nil
	}
	var errs field.ErrorList
	if b.ratio.Cmp(*resource.NewQuantity(1, resource.DecimalSI)) < 0 {
		errs = append(errs, field.Invalid(path, b.ratio.String(), fmt.Sprintf("ratio %s is less than 1", b.ratio)))
	}
	if b.least == nil || b.most == nil {
		return errs
	}
	if largest := b.most.AsApproximateFloat64() / b.least.AsApproximateFloat64(); b.ratio.AsApproximateFloat64() > largest {
		errs = append(errs, field.Invalid(path, b.ratio.String(), fmt.Sprintf("ratio %s is greater than max/min = %f", b.ratio, largest)))
	}
	return errs
}
