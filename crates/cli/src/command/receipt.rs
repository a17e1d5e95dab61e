//! `pelton receipt ID`: what a prediction came from, scored once more.

use crate::args::Receipt;
use crate::print::{Out, receipt as page};
use crate::session::Session;
use pelton_base::{ReceiptId, Reports};

pub(crate) async fn receipt(args: &Receipt, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published()?;
    let found = pelton_runner::receipts(&ctx).receipt(&ReceiptId(args.id.clone())).await?;
    if args.answer.is_json() {
        out.json(&found);
    } else {
        out.data(page::receipt(&found, out.data_style));
    }
    // A prediction that does not score to the same bits is an answer of "no".
    Ok(u8::from(!found.rescored.same_bits))
}
