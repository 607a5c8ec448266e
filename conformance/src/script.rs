//! A script: its modules in units, its assertions as steps of them or as tasks that have to be refused.

use wast::core::{WastArgCore, WastRetCore};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, QuoteWatTest, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use crate::driver::{Module, Unit, Wanted, What};
use crate::pool::{Came, Runs};
use crate::report::Report;

/// What is said of a module that is valid, and yet nothing for a component.
const IN_COMPONENTS: &str = "not allowed in components";

/// What is said of an import whose type does not fit.
const LINKED: &str = "of module instantiation argument";

/// Runs a script.
pub fn run(name: &str, text: &str, runs: &Runs, report: &mut Report) {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = match ParseBuffer::new_with_lexer(lexer) {
        Ok(buffer) => buffer,
        Err(e) => return report.leave_out_file(name, &format!("it cannot be read: {e}")),
    };
    match parser::parse::<Wast<'_>>(&buffer) {
        Ok(script) => Script::new(name, text, runs, report).run(script.directives),
        Err(e) => report.leave_out_file(name, &format!("it cannot be read: {e}")),
    }
}

struct Script<'a> {
    name: &'a str,
    text: &'a str,
    runs: &'a Runs,
    report: &'a mut Report,
    /// Modules import from one another: all are in one unit.
    together: bool,
    /// A module that was not instantiated may have changed the others.
    spoilt: bool,
    /// The current module was given a reference of the host's.
    hosted: bool,
    unit: Unit,
    /// What is wanted of its steps, and where in the script they are.
    steps: Vec<(u32, bool, usize)>,
    /// The instance that a call is of that names none; `None` where there is none, for this reason.
    current: Result<u32, &'static str>,
    named: Vec<(String, u32)>,
    registered: Vec<(String, u32)>,
    definitions: Vec<(Option<String>, Module)>,
}

impl<'a> Script<'a> {
    fn new(name: &'a str, text: &'a str, runs: &'a Runs, report: &'a mut Report) -> Script<'a> {
        Script {
            name,
            text,
            runs,
            report,
            together: false,
            spoilt: false,
            hosted: false,
            unit: Unit::default(),
            steps: Vec::new(),
            current: Err("there is no module"),
            named: Vec::new(),
            registered: Vec::new(),
            definitions: Vec::new(),
        }
    }

    fn run(mut self, directives: Vec<WastDirective<'_>>) {
        self.together = directives.iter().any(|directive| {
            matches!(directive, WastDirective::Register { .. } | WastDirective::ModuleInstance { .. })
        });
        for mut directive in directives {
            let at = directive.span().offset();
            self.directive(&mut directive, at);
        }
        self.run_steps();
    }

    fn directive(&mut self, directive: &mut WastDirective<'_>, at: usize) {
        match directive {
            WastDirective::Module(module) => {
                let id = name_of(module);
                match self.read(module) {
                    Ok(module) => self.instantiate(id, module),
                    Err(why) => {
                        self.current = Err("its module cannot be read");
                        self.report.fail(&self.place(at), &why);
                    }
                }
            }
            WastDirective::ModuleDefinition(module) => {
                let id = name_of(module);
                match self.read(module) {
                    Ok(module) => self.definitions.push((id, module)),
                    Err(why) => self.report.fail(&self.place(at), &why),
                }
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let wanted = module.map(|id| id.name().to_owned());
                let found = self.definitions.iter().rev().find(|(id, _)| wanted.is_none() || *id == wanted);
                match found.map(|(_, module)| module.clone()) {
                    Some(module) => self.instantiate(instance.map(|id| id.name().to_owned()), module),
                    None => self.report.fail(&self.place(at), "it instantiates what is not defined"),
                }
            }
            WastDirective::Register { name, module, .. } => {
                if let Ok(instance) = self.instance(*module) {
                    self.registered.push(((*name).to_owned(), instance));
                }
            }
            WastDirective::Invoke(call) => self.call(call, Wanted::Anything, at),
            WastDirective::AssertReturn { exec, results, .. } => {
                let results = std::mem::take(results).into_iter().map(|result| match result {
                    WastRet::Core(result) => Ok(result),
                    _ => Err("it is of the component model"),
                });
                match results.collect::<Result<Vec<WastRetCore<'_>>, _>>() {
                    Ok(results) => self.execute(exec, Wanted::Results(&results), at),
                    Err(why) => self.report.leave_out(why, 1),
                }
            }
            WastDirective::AssertTrap { exec, .. } | WastDirective::AssertException { exec, .. } => {
                self.execute(exec, Wanted::Trap, at);
            }
            WastDirective::AssertExhaustion { call, .. } => self.call(call, Wanted::Trap, at),
            WastDirective::AssertInvalid { message: "multiple memories", .. } => {
                self.report.leave_out("a newer version of the language allows it", 1);
            }
            WastDirective::AssertMalformed { module, .. } | WastDirective::AssertInvalid { module, .. } => {
                self.refused(module, at);
            }
            WastDirective::AssertUnlinkable { module, .. } => match binary_of(module) {
                Ok(module) => match self.component_with(module) {
                    Ok(component) => self.is_refused(&component, at),
                    // There is nothing to link it to, and the component says so already.
                    Err(_) => self.report.pass(),
                },
                Err(why) => self.report.fail(&self.place(at), &why),
            },
            WastDirective::AssertMalformedCustom { .. } | WastDirective::AssertInvalidCustom { .. } => {
                self.report.leave_out("a custom section is not looked into", 1);
            }
            WastDirective::AssertSuspension { .. } => {
                self.report.leave_out("the engine does not support stack switching", 1);
            }
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                self.report.leave_out("the engine does not support threads", 1);
            }
        }
    }

    fn place(&self, at: usize) -> String {
        let line = self.text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        format!("{}:{line}", self.name)
    }

    fn read(&self, module: &mut QuoteWat<'_>) -> Result<Module, String> {
        let binary = module.encode().map_err(|e| e.to_string())?;
        Module::read(binary).ok_or_else(|| "its module cannot be read".to_owned())
    }

    fn instantiate(&mut self, id: Option<String>, module: Module) {
        // What was called before does not see what a module does when it is instantiated after it.
        self.run_steps();
        if !self.together {
            self.hosted = false;
            self.unit = Unit::default();
        }
        let from = self.registered.clone();
        let instance = self.unit.instantiate(module, from);
        self.named.extend(id.map(|id| (id, instance)));
        self.current = Ok(instance);
    }

    fn instance(&self, id: Option<wast::token::Id<'_>>) -> Result<u32, &'static str> {
        let Some(id) = id else {
            return self.current;
        };
        let found = self.named.iter().rev().find(|(name, _)| name == id.name());
        found.map(|(_, instance)| *instance).ok_or("it names a module that is not there")
    }

    fn execute(&mut self, what: &mut WastExecute<'_>, wanted: Wanted<'_>, at: usize) {
        match what {
            WastExecute::Invoke(call) => self.call(call, wanted, at),
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(*module);
                let step = instance.and_then(|instance| self.unit.step(instance, What::Global(global), wanted));
                self.stepped(step, wanted, at);
            }
            WastExecute::Wat(module) => {
                // What it did until then stays done, and no component is left to see it.
                self.run_steps();
                self.spoilt |= self.together;
                let component = binary_of(module).and_then(|module| self.component_with(module));
                match component.and_then(|component| self.runs.steps(&component, &[0])) {
                    Ok(came) if matches!(came.as_slice(), [Came::Trap(_)]) => self.report.pass(),
                    Ok(came) => self.report.fail(&self.place(at), &format!("instantiating it gave {came:?}")),
                    Err(why) if why.contains(IN_COMPONENTS) => {
                        self.report.leave_out("a component cannot hold its module", 1);
                    }
                    Err(why) => self.report.fail(&self.place(at), &why),
                }
            }
        }
    }

    fn call(&mut self, call: &WastInvoke<'_>, wanted: Wanted<'_>, at: usize) {
        let arguments: Option<Vec<&WastArgCore<'_>>> = call
            .args
            .iter()
            .map(|argument| match argument {
                WastArg::Core(argument) => Some(argument),
                _ => None,
            })
            .collect();
        // The driver's stand-ins for them are integers, which collected values can be told from.
        let is_host =
            |argument: &&WastArgCore<'_>| matches!(argument, WastArgCore::RefExtern(_) | WastArgCore::RefHost(_));
        self.hosted |= self.name.contains("/gc/") && arguments.iter().flatten().any(is_host);
        let step = match (arguments, self.instance(call.module)) {
            (Some(arguments), Ok(instance)) => {
                self.unit.step(instance, What::Call { name: call.name, arguments: &arguments }, wanted)
            }
            (None, _) => Err("an argument is of the component model"),
            (_, Err(why)) => Err(why),
        };
        self.stepped(step, wanted, at);
    }

    fn stepped(&mut self, step: Result<u32, &'static str>, wanted: Wanted<'_>, at: usize) {
        match step {
            Ok(_) if self.hosted => {
                self.report.leave_out("a component has no reference of the host's to give", 1);
            }
            Ok(_) if self.spoilt => {
                self.report.leave_out("a module that could not be instantiated may have changed what it sees", 1);
            }
            Ok(step) => self.steps.push((step, matches!(wanted, Wanted::Trap), at)),
            Err(why) => self.report.leave_out(why, 1),
        }
    }

    /// The component of what there is, and one more module whose instance is made with it.
    fn component_with(&self, binary: Vec<u8>) -> Result<Vec<u8>, String> {
        let module = Module::read(binary).ok_or("its module cannot be read")?;
        let mut unit = Unit::default();
        for (module, from) in self.unit.instances() {
            unit.instantiate(module.clone(), from.clone());
        }
        unit.instantiate(module, self.registered.clone());
        unit.component()
    }

    fn refused(&mut self, module: &mut QuoteWat<'_>, at: usize) {
        match module.to_test() {
            Ok(QuoteWatTest::Binary(task) | QuoteWatTest::Text(task)) => self.is_refused(&task, at),
            // It has no binary to give to anybody: `wat` is what the task's text would be read by, and refuses it.
            Err(_) => self.report.pass(),
        }
    }

    fn is_refused(&mut self, task: &[u8], at: usize) {
        match self.runs.refusal(task) {
            Some(_) => self.report.pass(),
            None => self.report.fail(&self.place(at), "it is taken, and should be refused"),
        }
    }

    /// Runs the steps that were added to the unit.
    fn run_steps(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let Some((_, _, first)) = steps.first().copied() else {
            return;
        };
        let numbers: Vec<u32> = steps.iter().map(|(number, ..)| *number).collect();
        let came = self.unit.component().and_then(|component| self.runs.steps(&component, &numbers));
        let came = match came {
            Ok(came) => came,
            Err(why) if why.contains(IN_COMPONENTS) => {
                return self.report.leave_out("a component cannot hold its module", steps.len() as u64);
            }
            Err(why) if why.contains(LINKED) => {
                return self
                    .report
                    .leave_out("components are linked by types, before anything grows", steps.len() as u64);
            }
            Err(why) => return self.report.fail(&self.place(first), &format!("{} steps: {why}", steps.len())),
        };
        for ((_, traps, at), came) in steps.iter().zip(came) {
            match (came, traps) {
                (Came::Value(1), false) | (Came::Trap(_), true) => self.report.pass(),
                (Came::Value(0), false) => self.report.fail(&self.place(*at), "it gave something else"),
                (Came::Value(_), true) => self.report.fail(&self.place(*at), "it did not trap"),
                (came, _) => self.report.fail(&self.place(*at), &format!("{came:?}")),
            }
        }
    }
}

fn name_of(module: &QuoteWat<'_>) -> Option<String> {
    match module {
        QuoteWat::Wat(Wat::Module(module)) => module.id.map(|id| id.name().to_owned()),
        _ => None,
    }
}

fn binary_of(module: &mut Wat<'_>) -> Result<Vec<u8>, String> {
    module.encode().map_err(|e| e.to_string())
}
