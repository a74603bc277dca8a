package admin

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"
)

// Backup writes a backup of the whole store, and tells progress now and then how
// many bytes of how many have come. What was written is none unless it returns
// no error.
func (c *Client) Backup(ctx context.Context, to io.Writer, progress func(done, total int64)) error {
	request, err := c.request(ctx, http.MethodGet, "/backup", nil)
	if err != nil {
		return err
	}
	response, err := c.unhurried().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := refused(response); err != nil {
		return err
	}
	if response.Header.Get("Content-Type") != backupType || response.ContentLength < 0 {
		return ErrNotServed
	}
	_, err = io.Copy(to, &counted{Reader: response.Body, total: response.ContentLength, tell: progress})
	if err != nil {
		return fmt.Errorf("the backup is not whole: %w", err)
	}
	return nil
}

// Restore sends a backup of a size, and tells progress how much of it was sent.
func (c *Client) Restore(ctx context.Context, from io.Reader, size int64, quarantine bool, progress func(done, total int64)) (answer RestoreAnswer, err error) {
	path := "/restore"
	if quarantine {
		path += "?quarantine=true"
	}
	body := &counted{Reader: from, total: size, tell: progress}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+path, body)
	if err != nil {
		return answer, err
	}
	request.ContentLength = size
	request.Header.Set("Content-Type", backupType)
	if err := c.await(request, &answer); err != nil {
		return answer, err
	}
	if answer.Restored.MadeAt.IsZero() {
		return answer, ErrNotServed
	}
	return answer, nil
}

// await sends a request, and reads the answer however long that takes.
func (c *Client) await(request *http.Request, answer any) error {
	response, err := c.unhurried().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := refused(response); err != nil {
		return err
	}
	if err := json.UnmarshalRead(response.Body, answer); err != nil {
		return ErrNotServed
	}
	return nil
}

// unhurried returns a client that waits for as long as something comes.
func (c *Client) unhurried() *http.Client {
	client := c.withoutRedirects()
	client.Timeout = 0
	return client
}

// refused returns the error of an answer that is one.
func refused(response *http.Response) error {
	if response.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	return refusal(response.StatusCode, body)
}

// counted tells how much was read.
type counted struct {
	io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.done += int64(n)
	if c.tell != nil {
		c.tell(c.done, c.total)
	}
	return n, err
}
