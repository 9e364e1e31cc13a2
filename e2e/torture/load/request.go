package load

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/e2e/torture/history"
	"github.com/holt-project/holt/internal/client"
)

// The fields that hold a content.
const (
	valueField = "value"
	patchField = "patch"
	halfLabel  = "half"
	eraLabel   = "era"
)

var resource = corev1.SchemeGroupVersion.WithResource("configmaps")

// carryOut sends a call and records what became of it.
func (c *caller) carryOut(ctx context.Context, call *history.Call, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	call.Client, call.Server = c.number, c.server
	c.load.recorder.Begin(call)
	data, err := c.send(ctx, request(call))
	if err == nil {
		err = answered(call, data)
	}
	if err == nil {
		call.Outcome = history.Done
	} else {
		call.Outcome, call.Error = outcome(call, err, sent.Load()), err.Error()
	}
	c.load.recorder.End(*call)
}

// send returns the answer's body. The client has one server, and so sends a request once.
func (c *caller) send(ctx context.Context, r client.Request) (json.RawMessage, error) {
	var data json.RawMessage
	err := c.load.clients[c.server].Do(ctx, r, &data)
	return data, err
}

// request is the request of a call.
func request(c *history.Call) client.Request {
	r := client.Request{Method: http.MethodGet, Path: client.Path(resource, Namespace, c.Key, "")}
	switch c.Verb {
	case history.Get, history.List:
		query := selectors(c.Scope)
		setIf(query, "resourceVersion", c.Version)
		setIf(query, "resourceVersionMatch", c.Match)
		r.Query = query.Encode()
	case history.Create:
		r.Method, r.Path, r.Body = http.MethodPost, client.Path(resource, Namespace, "", ""), object(c)
	case history.Update:
		r.Method, r.Body = http.MethodPut, object(c)
	case history.Patch:
		r.Method, r.Body, r.ContentType = http.MethodPatch, patchOf(c.Content), string(types.MergePatchType)
	case history.Delete:
		r.Method, r.Body = http.MethodDelete, deleteOptions(c)
	}
	return r
}

func setIf(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

func selectors(s history.Scope) url.Values {
	query := url.Values{}
	switch {
	case s.Half != "" && s.Era != "":
		query.Set("labelSelector", halfLabel+"="+s.Half+","+eraLabel+"="+s.Era)
	case s.Half != "":
		query.Set("labelSelector", halfLabel+"="+s.Half)
	case s.Era != "":
		query.Set("labelSelector", eraLabel+"="+s.Era)
	}
	return query
}

func object(c *history.Call) *corev1.ConfigMap {
	m := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: c.Key,
			Labels: map[string]string{eraLabel: history.Era(c.Key), halfLabel: c.Content.Half}},
		Data: map[string]string{valueField: c.Content.Value},
	}
	if c.IfRevision != 0 {
		m.ResourceVersion = strconv.FormatUint(c.IfRevision, 10)
	}
	return m
}

func patchOf(content history.Content) any {
	patch := map[string]any{"data": map[string]string{patchField: content.Patch}}
	if content.Half != "" {
		patch["metadata"] = map[string]any{"labels": map[string]string{halfLabel: content.Half}}
	}
	return patch
}

func deleteOptions(c *history.Call) *metav1.DeleteOptions {
	o := &metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}}
	if c.IfRevision == 0 && c.IfUID == "" {
		return o
	}
	o.Preconditions = &metav1.Preconditions{}
	if c.IfRevision != 0 {
		revision := strconv.FormatUint(c.IfRevision, 10)
		o.Preconditions.ResourceVersion = &revision
	}
	if c.IfUID != "" {
		uid := types.UID(c.IfUID)
		o.Preconditions.UID = &uid
	}
	return o
}

// answered reads an answer into the call.
func answered(c *history.Call, data []byte) error {
	switch c.Verb {
	case history.List:
		var list corev1.ConfigMapList
		if err := json.Unmarshal(data, &list); err != nil {
			return err
		}
		for i := range list.Items {
			o, err := seen(&list.Items[i])
			if err != nil {
				return err
			}
			c.Items = append(c.Items, o)
		}
		var err error
		c.Revision, err = strconv.ParseUint(list.ResourceVersion, 10, 64)
		return err
	case history.Delete:
		var status metav1.Status
		if err := json.Unmarshal(data, &status); err != nil {
			return err
		}
		if status.Details == nil {
			return errors.New("the deletion's answer has no details")
		}
		c.Object = &history.Object{Key: c.Key, UID: string(status.Details.UID)}
		return nil
	}
	var m corev1.ConfigMap
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	o, err := seen(&m)
	c.Object = &o
	return err
}

// seen is what a ConfigMap shows.
func seen(m *corev1.ConfigMap) (history.Object, error) {
	revision, err := strconv.ParseUint(m.ResourceVersion, 10, 64)
	return history.Object{Key: m.Name, UID: string(m.UID), Revision: revision,
		Content: history.Content{Value: m.Data[valueField], Patch: m.Data[patchField], Half: m.Labels[halfLabel]}}, err
}

// outcome is what an error says. Only what promises that nothing was changed is believed to mean that.
func outcome(c *history.Call, err error, sent bool) history.Outcome {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		if sent {
			return history.Unknown
		}
		return history.Failed
	}
	precondition := c.IfRevision != 0 || c.IfUID != ""
	switch code := status.Status().Code; {
	case code == http.StatusNotFound:
		return history.NotFound
	case code == http.StatusConflict && c.Verb == history.Create:
		return history.Exists
	case code == http.StatusConflict && precondition:
		return history.Conflict
	case code >= 500 && code != http.StatusServiceUnavailable:
		return history.Unknown
	}
	return history.Failed
}
