package kinds

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

const nameColumn = "Name"

// TableColumns are the columns of the table that kubectl prints: the name first, unless the kind has it elsewhere, and
// then the kind's own.
func (k *Kind) TableColumns() []metav1.TableColumnDefinition {
	if k.namesItself() {
		return k.Columns
	}
	first := metav1.TableColumnDefinition{
		Name: nameColumn, Type: "string", Format: "name", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"],
	}
	columns := k.Columns
	if k.Cells == nil {
		columns = []metav1.TableColumnDefinition{ageColumn()}
	}
	return append([]metav1.TableColumnDefinition{first}, columns...)
}

// TableRow returns the cells of one object under TableColumns.
func (k *Kind) TableRow(obj fsm.Value, now time.Time) []any {
	if k.Cells == nil {
		return []any{obj.GetName(), age(obj, now)}
	}
	cells := k.Cells(obj, now)
	if k.namesItself() {
		return cells
	}
	return append([]any{obj.GetName()}, cells...)
}

func (k *Kind) namesItself() bool {
	return slices.ContainsFunc(k.Columns, func(c metav1.TableColumnDefinition) bool { return c.Name == nameColumn })
}
