//! Which tensors a layer takes.

use super::{Expansion, Here, MOST_STEPS};
use crate::Sink;
use crate::discover::Meaning;
use crate::expression::Value;
use crate::program::{Layer, Name, Options, Site, Source};

impl<S: Sink> Expansion<'_, S> {
    /// Puts the tensors that a layer takes on the stack of inputs: their range there. They count as
    /// taken from now on.
    pub(super) fn inputs(
        &mut self,
        here: &Here<'_>,
        layer: &Layer,
        instance: u32,
    ) -> Result<(usize, usize), String> {
        let Some(sources) = &layer.from else {
            let begin = self.inputs.len();
            self.take(here, self.last(here));
            return Ok((begin, begin + 1));
        };
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let index = match layer.repeat {
            Some(_) => i64::from(instance),
            None => here.index,
        };
        for source in sources {
            self.source(here, source, (instance, index), &mut found)?;
        }
        if found.is_empty() && !layer.chooses_tensors() {
            return Err("there is nothing yet that it could take".to_owned());
        }
        self.steps += found.len();
        if self.steps > MOST_STEPS {
            return Err("too many tensors are taken by too many layers".to_owned());
        }
        let begin = self.inputs.len();
        for index in &found {
            self.take(here, *index);
        }
        self.found = found;
        Ok((begin, self.inputs.len()))
    }

    fn take(&mut self, here: &Here<'_>, index: usize) {
        let output = &mut self.tensors[here.tensors + index];
        output.taken = true;
        self.inputs.push(output.node);
    }

    fn source(
        &self,
        here: &Here<'_>,
        source: &Source,
        (instance, index): (u32, i64),
        found: &mut Vec<usize>,
    ) -> Result<(), String> {
        match source {
            Source::Back(back) => {
                let own = here.definition.inputs.len();
                let count = self.tensors.len() - here.tensors;
                let at = count.checked_sub(*back).filter(|at| *at >= own);
                found.push(at.unwrap_or(0));
            }
            Source::Named(name) => self.named(here, *name, found)?,
            Source::When(name, condition) => {
                let holds = self
                    .evaluate(here, condition, index)
                    .and_then(Value::truth)
                    .map_err(|message| format!("`when`: {message}"))?;
                if holds {
                    self.named(here, *name, found)?;
                }
            }
            Source::Unused(names) => {
                let before = found.len();
                for name in names {
                    let (begin, end) = self.range(here, *name);
                    let tensors = &self.tensors[here.tensors..];
                    found.extend((begin..end).filter(|index| !tensors[*index].taken));
                }
                if found.len() == before {
                    return Err("nothing is left that is unused".to_owned());
                }
            }
            Source::Choose(site) => self.chosen_tensors(here, site, instance, found)?,
        }
        Ok(())
    }

    /// All tensors that a name stands for.
    fn named(&self, here: &Here<'_>, name: Name, found: &mut Vec<usize>) -> Result<(), String> {
        let (begin, end) = self.range(here, name);
        // A repeated layer may take what it gave before: nothing, the first time.
        if begin == end && name != Name::Layer(here.at) {
            let layer = match name {
                Name::Layer(number) => here.definition.layers.get(number as usize),
                Name::Input(_) => None,
            };
            return Err(match layer {
                Some(layer) if layer.auxiliary.is_some() => format!(
                    "it takes '{}', an auxiliary classifier, whose output nothing can take",
                    layer.label
                ),
                _ => "a layer that it takes was repeated 0 times".to_owned(),
            });
        }
        found.extend(begin..end);
        Ok(())
    }

    fn chosen_tensors(
        &self,
        here: &Here<'_>,
        site: &Site,
        instance: u32,
        found: &mut Vec<usize>,
    ) -> Result<(), String> {
        let lost = || "the choice is not known".to_owned();
        let at = |name: Name, index: u32| {
            let (begin, end) = self.range(here, name);
            let index = begin + index as usize;
            if index < end {
                Ok(index)
            } else {
                Err("a tensor that was chosen is not there".to_owned())
            }
        };
        if let Options::Subset { .. } = site.options {
            for member in 0.. {
                let local = (site.local << 16) + 0x8000 + member;
                let Some((id, choice)) = self.decision(here, instance, local) else {
                    break;
                };
                if let (Meaning::Member(name, index), 1) =
                    (&self.decisions.list[id].meaning, choice)
                {
                    found.push(at(*name, *index)?);
                }
            }
            return Ok(());
        }
        let (id, choice) = self.decision(here, instance, site.local).ok_or_else(lost)?;
        let Meaning::Tensors(options) = &self.decisions.list[id].meaning else {
            return Err(lost());
        };
        for (name, index) in options.get(choice).ok_or_else(lost)? {
            found.push(at(*name, *index)?);
        }
        Ok(())
    }

    /// The tensors that a name stands for, as a range of the definition's.
    fn range(&self, here: &Here<'_>, name: Name) -> (usize, usize) {
        match name {
            Name::Input(index) => (index as usize, index as usize + 1),
            Name::Layer(number) => self
                .ranges
                .get(here.ranges + number as usize)
                .map_or((0, 0), |(begin, end)| (*begin as usize, *end as usize)),
        }
    }
}
