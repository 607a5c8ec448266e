//! The charts of the page, drawn as SVG.

use super::super::figures::{BucketFigures, LongItemFigures, RowFigures, TaskFigures};
use super::{Page, event_said, micros_said};
use crate::cli::progress::{grouped, one_or_many, rate_said};

/// Heights of the charts, in pixels.
const RATE_HEIGHT: f64 = 72.0;
const ROW_HEIGHT: f64 = 22.0;
const TIMES_HEIGHT: f64 = 110.0;
/// Number of the longest items that are marked in a row.
const MARKED: usize = 100;

/// Where a moment is, as a share of the chart's width in percent.
#[derive(Clone, Copy)]
pub struct Scale(pub f64);

impl Scale {
    fn at(self, us: u64) -> f64 {
        (us as f64 / self.0 * 100.0).clamp(0.0, 100.0)
    }
}

/// Draws how many items were done in a second, over time.
pub fn rates(page: &mut Page, task: &TaskFigures, scale: Scale) {
    let line = &task.timeline;
    let most = line.done.iter().copied().max().unwrap_or_default().max(1) as f64;
    let second = line.bucket_us.max(1) as f64 / 1e6;
    page.raw(format_args!("<svg height=\"{}\" role=\"img\"><title>Items per second</title>", RATE_HEIGHT + 16.0));
    page.raw(format_args!("<text x=\"0\" y=\"10\">{}, at most</text>", rate_said(most / second, "items")));
    for (nth, (&done, &failed)) in line.done.iter().zip(&line.failed).enumerate().filter(|(_, (done, _))| **done > 0) {
        let from = scale.at(line.bucket_us * nth as u64);
        let width = scale.at(line.bucket_us * (nth as u64 + 1)) - from;
        let height = done as f64 / most * RATE_HEIGHT;
        let failed_height = failed as f64 / most * RATE_HEIGHT;
        let rate = rate_said(done as f64 / second, "items");
        page.raw(format_args!(
            "<g><title>{rate}, {} failed</title><rect class=\"good\" x=\"{from:.3}%\" width=\"{width:.3}%\" y=\"{:.1}\" height=\"{:.1}\"/>",
            grouped(failed),
            16.0 + RATE_HEIGHT - height,
            height - failed_height
        ));
        if failed > 0 {
            page.raw(format_args!(
                "<rect class=\"fail\" x=\"{from:.3}%\" width=\"{width:.3}%\" y=\"{:.1}\" height=\"{:.1}\"/>",
                16.0 + RATE_HEIGHT - failed_height,
                failed_height.max(1.0)
            ));
        }
        page.raw("</g>");
    }
    page.raw("</svg>\n");
}

/// Draws what the workers of a row did: how busy they were, and the chunks, long items and events that stand out.
pub fn of_row(page: &mut Page, task: &TaskFigures, (nth, row): (usize, &RowFigures), scale: Scale) {
    page.raw(format_args!("<svg class=\"row\" height=\"{ROW_HEIGHT}\" role=\"img\">"));
    let rect = |page: &mut Page, class: &str, (from, to): (u64, u64), (y, height): (f64, f64)| {
        let x = scale.at(from);
        page.raw(format_args!(
            "<rect class=\"{class}\" x=\"{x:.3}%\" width=\"{:.3}%\" y=\"{y:.1}\" height=\"{height:.1}\">",
            scale.at(to) - x
        ));
    };
    for life in &row.lives {
        let ready = life.ready_us.or(life.to_us).unwrap_or(life.from_us);
        rect(page, "life", (ready, life.to_us.unwrap_or(ready)), (0.0, ROW_HEIGHT));
        page.raw(format_args!("<title>worker {}, process {}</title></rect>", life.worker, life.pid));
        rect(page, "start", (life.from_us, ready), (0.0, ROW_HEIGHT));
        page.raw(format_args!("<title>worker {} starts</title></rect>", life.worker));
    }
    let bucket = task.timeline.row_bucket_us;
    // Neighbours that look alike are one.
    let mut cells = (0_u64..).zip(row.busy.iter().zip(&row.done).zip(&row.failed)).peekable();
    while let Some((first, ((&busy, &done), &failed))) = cells.next() {
        let (mut last, mut done, mut failed) = (first, done, failed);
        let look = |busy: u64, failed: u64| (busy.div_ceil(50), failed > 0);
        while let Some((at, ((_, more), more_failed))) =
            cells.next_if(|(_, ((next, _), next_failed))| look(**next, **next_failed) == look(busy, failed))
        {
            last = at;
            done += more;
            failed += more_failed;
        }
        if busy == 0 && done == 0 {
            continue;
        }
        let height = (busy as f64 / 1000.0 * ROW_HEIGHT).max(1.5);
        let span = (bucket * first, bucket * (last + 1));
        rect(page, "busy", span, (ROW_HEIGHT - height, height));
        page.raw(format_args!(
            "<title>{}% busy, {} {}, {} failed</title></rect>",
            busy.div_ceil(10),
            grouped(done),
            one_or_many(done, "items"),
            grouped(failed)
        ));
        if failed > 0 {
            let height = (failed as f64 / done.max(1) as f64 * height).max(3.0);
            rect(page, "fail", span, (ROW_HEIGHT - height, height));
            page.raw("</rect>");
        }
    }
    for chunk in task.chunks.listed.iter().filter(|chunk| chunk.row == nth) {
        let x = scale.at(chunk.from_us);
        page.raw(format_args!(
            "<line class=\"grid\" x1=\"{x:.3}%\" x2=\"{x:.3}%\" y1=\"0\" y2=\"{ROW_HEIGHT}\"><title>chunk of {} {} from {}, {}</title></line>",
            chunk.count,
            one_or_many(chunk.count, "items"),
            chunk.first,
            micros_said((chunk.to_us - chunk.from_us) as f64)
        ));
    }
    // Only what can be seen in this row.
    let wide = |item: &&LongItemFigures| scale.at(item.to_us) - scale.at(item.from_us) > 1.0;
    for item in task.longest_items.iter().take(MARKED).filter(|item| item.row == nth).filter(wide) {
        rect(page, "long", (item.from_us, item.to_us), (0.5, ROW_HEIGHT - 1.0));
        let failed = item.failed.map_or_else(String::new, |kind| format!(": {kind}"));
        let took = micros_said((item.to_us - item.from_us) as f64);
        page.raw(format_args!("<title>item {}, {took}{failed}</title></rect>", item.index));
    }
    for event in task.events.listed.iter().filter(|event| event.row == nth) {
        let (x, class) = (scale.at(event.at_us), event.what);
        let (y, radius) = if class == "restarted" { (ROW_HEIGHT - 4.0, 3) } else { (ROW_HEIGHT / 2.0, 4) };
        page.raw(format_args!("<circle class=\"{class}\" cx=\"{x:.3}%\" cy=\"{y:.1}\" r=\"{radius}\"><title>"));
        page.text(&event_said(event));
        page.raw("</title></circle>");
    }
    page.raw("</svg>\n");
}

/// Draws the times below a chart.
pub fn axis(page: &mut Page, elapsed_us: u64) {
    page.raw("<svg height=\"22\" aria-hidden=\"true\">");
    for (nth, anchor) in ["start", "middle", "middle", "middle", "end"].iter().enumerate() {
        let x = nth * 25;
        let time = micros_said(elapsed_us as f64 * nth as f64 / 4.0);
        let time = if nth == 0 { "0" } else { &time };
        page.raw(format_args!("<line class=\"grid\" x1=\"{x}%\" x2=\"{x}%\" y1=\"0\" y2=\"5\"/>"));
        page.raw(format_args!("<text x=\"{x}%\" y=\"18\" text-anchor=\"{anchor}\">{time}</text>"));
    }
    page.raw("</svg>\n");
}

/// Draws how many items took how long.
pub fn histogram(page: &mut Page, buckets: &[BucketFigures]) {
    let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or_default().max(1) as f64;
    let width = 100.0 / buckets.len().max(1) as f64;
    page.raw(format_args!(
        "<svg height=\"{}\" role=\"img\"><title>How many items took how long</title>",
        TIMES_HEIGHT + 40.0
    ));
    page.raw(format_args!(
        "<text x=\"0\" y=\"10\">{} {}, at most</text>",
        grouped(most as u64),
        one_or_many(most as u64, "items")
    ));
    let labels = buckets.len().div_ceil(6).max(1);
    for (nth, bucket) in buckets.iter().enumerate() {
        let x = nth as f64 * width;
        // The few are seen, too.
        let height = if bucket.count > 0 { (bucket.count as f64 / most * TIMES_HEIGHT).max(1.5) } else { 0.0 };
        page.raw(format_args!(
            "<rect class=\"busy\" x=\"{:.3}%\" width=\"{:.3}%\" y=\"{:.1}\" height=\"{height:.1}\"><title>{} {} took {} to {}</title></rect>",
            x + width * 0.04,
            width * 0.92,
            16.0 + TIMES_HEIGHT - height,
            grouped(bucket.count),
            one_or_many(bucket.count, "items"),
            micros_said(bucket.from_us),
            micros_said(bucket.to_us)
        ));
        if nth % labels == 0 && x < 92.0 {
            page.raw(format_args!(
                "<text x=\"{x:.3}%\" y=\"{:.1}\">{}</text>",
                TIMES_HEIGHT + 32.0,
                micros_said(bucket.from_us)
            ));
        }
    }
    page.raw("</svg>\n");
}
