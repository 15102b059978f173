//! An actor that says that it is there.

use mobula::prelude::*;

pub struct Echo;
kind!(Echo = "recover.echo");

#[derive(Serialize, Deserialize)]
pub enum EchoMsg {
    /// Which run is this?
    Ask(Reply<Epoch>),
}
protocol!(EchoMsg = "recover.echo/1");

impl Actor for Echo {
    type Args = ();
    type Msg = EchoMsg;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: EchoMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let EchoMsg::Ask(reply) = msg;
        reply.send(ctx.epoch());
        Ok(())
    }
}
